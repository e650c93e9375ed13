#include "job/backups.h"

#include "base/fs.h"
#include "job/service.h"
#include "store/settings.h"

#include <limits.h>

/* The file tells of what failed because there was no database, and of copies that were
 * made before this database was restored from one. */
void jobs_backups(struct jobs *s, struct backup_state *out)
{
    const char *folder = s->config->backup_dir;
    char path[PATH_MAX];
    struct buf text;
    *out = (struct backup_state){0};
    buf_init(&text, BACKUP_STATE_MAX);
    if (!store_setting_get(s->store, STORE_BACKUP_STATE, &text, NULL))
        backup_state_merge(out, buf_cstr(&text));
    buf_reset(&text);
    int n = folder && strncmp(folder, "s3://", 5) != 0
                ? snprintf(path, sizeof path, "%s/" BACKUP_STATE_FILE, folder)
                : -1;
    if (n > 0 && (size_t)n < sizeof path && !fs_read(path, &text, NULL))
        backup_state_merge(out, buf_cstr(&text));
    buf_release(&text);
}
