/* The storage that the settings name. */
#include "store/blob_ops.h"

#include "base/fs.h"
#include "base/mem.h"

#include <ctype.h>

#define SECRET_MAX 4096

/* What a file holds, without the line's end; NULL when none is named. */
static int read_secret(const char *path, char **out, struct err *e)
{
    struct buf b;
    *out = NULL;
    if (!path)
        return 0;
    buf_init(&b, SECRET_MAX);
    int status = fs_read(path, &b, e);
    while (!status && b.length && isspace((unsigned char)b.data[b.length - 1]))
        b.data[--b.length] = '\0';
    if (!status && !(*out = buf_take(&b)))
        status = err_set(e, ERR_NOMEM, "out of memory");
    buf_release(&b);
    return status;
}

static int open_bucket(struct blob_store **out, const struct config *c,
                       const char *key_id, const char *secret, struct err *e)
{
    const char *name = c->storage_url + strlen("s3://");
    size_t length = strcspn(name, "/");
    char bucket[64];
    const char *tmp = getenv("TMPDIR");
    if (length >= sizeof bucket)
        return err_set(e, ERR_INVALID, "the bucket's name in STORAGE_URL is too long");
    memcpy(bucket, name, length);
    bucket[length] = '\0';
    const struct s3_options options = {
        .bucket = bucket,
        .endpoint = c->s3_endpoint,
        .region = c->s3_region,
        .key_id = key_id,
        .secret = secret,
        .token = c->s3_token,
        .ca_file = c->s3_ca_file,
        .path_style = c->s3_path_style == PATH_STYLE_ON ||
                      (c->s3_path_style == PATH_STYLE_AUTO && c->s3_endpoint),
    };
    return blob_store_open_s3(out, &options, name + length,
                              c->scratch_dir ? c->scratch_dir
                              : tmp && *tmp  ? tmp
                                             : "/var/tmp",
                              e);
}

static int open_s3(struct blob_store **out, const struct config *c, struct err *e)
{
    char *key_id = NULL, *secret = NULL;
    int status = read_secret(c->s3_key_id_file, &key_id, e);
    if (!status)
        status = read_secret(c->s3_secret_file, &secret, e);
    if (!status)
        status = open_bucket(out, c, key_id ? key_id : c->s3_key_id,
                             secret ? secret : c->s3_secret, e);
    free(key_id);
    free(secret);
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
