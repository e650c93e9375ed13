/* What crashes and late writers have left in a bucket, by age on the server's clock. */
#include "store/blob_s3.h"

#include "base/log.h"

struct sweep {
    struct s3_store *s; /* borrowed */
    const char *folder; /* behind the prefix, with a slash at its end */
    bool parts;
    int64_t age_ms;
    blob_wanted_fn wanted;
    void *arg;
    int removed;
};

static int sweep_one(void *arg, const struct s3_entry *entry, struct err *e)
{
    struct sweep *w = arg;
    char id[ID_SIZE];
    const char *rest, *name = entry->key;
    size_t prefix = strlen(w->s->prefix), folder = strlen(w->folder);
    if (strncmp(name, w->s->prefix, prefix) != 0 ||
        strncmp(name + prefix, w->folder, folder) != 0 ||
        !blob_name_parse(name + prefix + folder, id, &rest) ||
        (w->parts && !*entry->upload_id ? *rest != '.' : *rest != '\0') ||
        entry->age_ms < w->age_ms)
        return 0;
    int answer = w->wanted(w->arg, id, w->parts);
    if (answer)
        return answer < 0 ? answer : 0;
    int status = *entry->upload_id ? s3_upload_abort(w->s->s3, name, entry->upload_id, e)
                                   : s3_delete(w->s->s3, name, e);
    w->removed += !status;
    return status;
}

int s3_sweep(struct blob_store *base, int64_t age_ms, blob_wanted_fn wanted, void *arg,
             struct err *e)
{
    struct s3_store *s = (struct s3_store *)base;
    struct sweep w = {.s = s, .age_ms = age_ms, .wanted = wanted, .arg = arg};
    char key[S3_KEY_SIZE];
    int status = 0;
    for (int parts = 0; !status && parts < 2; parts++) {
        w.parts = parts;
        w.folder = parts ? "parts/" : "uploads/";
        (void)snprintf(key, sizeof key, "%s%s", s->prefix, w.folder);
        status = s3_list(s->s3, key, sweep_one, &w, e);
    }
    /* Uploads in parts stand under the name of what they become. */
    w.folder = "uploads/";
    (void)snprintf(key, sizeof key, "%s%s", s->prefix, w.folder);
    if (!status)
        status = s3_list_uploads(s->s3, key, sweep_one, &w, e);
    if (status == ERR_UNSUPPORTED)
        status = 0; /* the bucket's own rules must end them */
    return status ? status : w.removed;
}
