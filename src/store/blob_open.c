/* The storage that the settings name. */
#include "store/blob_ops.h"

#include "base/fs.h"
#include "base/mem.h"
#include "store/bucket.h"

static int open_s3(struct blob_store **out, const struct config *c, struct err *e)
{
    struct bucket b;
    const char *tmp = getenv("TMPDIR");
    int status = bucket_init(&b, c, c->storage_url, "STORAGE_URL", e);
    if (!status)
        status = blob_store_open_s3(out, &b.options, b.prefix,
                                    c->scratch_dir ? c->scratch_dir
                                    : tmp && *tmp  ? tmp
                                                   : "/var/tmp",
                                    e);
    return status;
}

int blob_store_open_as_set(struct blob_store **out, const struct config *c,
                           uint64_t reserve_bytes, struct err *e)
{
    static const char file[] = "file://";
    *out = NULL;
    const char *url = c->storage_url;
    if (url && !strncmp(url, "s3://", 5))
        return open_s3(out, c, e);
    int status =
        blob_store_open(out, url ? url + strlen(file) : c->storage_dir, reserve_bytes, e);
    if (!status && c->secure_erase)
        blob_store_wipe(*out);
    if (status || !c->scratch_dir)
        return status;
    char *scratch = strdup(c->scratch_dir);
    status = scratch ? fs_mkdirs(scratch, e) : err_set(e, ERR_NOMEM, "out of memory");
    if (status) {
        free(scratch);
        blob_store_close(*out);
        *out = NULL;
        return status;
    }
    free((*out)->scratch);
    (*out)->scratch = scratch;
    return 0;
}
