/* Whether a copy is still what it was. */
#include "backup/backup.h"

int backup_verify(struct vault *v, const char *name, backup_bad_fn bad, size_t *files,
                  int64_t *bytes, struct err *e)
{
    struct manifest m;
    *files = 0;
    *bytes = 0;
    int status = made_read(v, name, &m, NULL, e);
    if (status)
        return status;
    for (size_t i = 0; i < m.n_files; i++) {
        struct err why = {0};
        int one = object_read(v, &m.files[i], NULL, NULL, &why);
        if (one == ERR_CANCELLED) {
            status = err_set(e, one, "%s", why.message);
            break;
        }
        *files += !one;
        *bytes += one ? 0 : m.files[i].bytes;
        if (one && bad)
            bad(why.message);
        if (one && !status)
            status = err_set(e, one, "%s", why.message);
    }
    manifest_release(&m);
    return status;
}
