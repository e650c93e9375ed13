#include "store/bucket.h"

#include "base/buf.h"
#include "base/fs.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

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

int bucket_init(struct bucket *b, const struct config *c, const char *url,
                const char *setting, struct err *e)
{
    const char *name = url + strlen("s3://");
    size_t length = strcspn(name, "/");
    *b = (struct bucket){.prefix = name + length};
    if (length >= sizeof b->name)
        return err_set(e, ERR_INVALID, "the bucket's name in %s is too long", setting);
    memcpy(b->name, name, length);
    int status = read_secret(c->s3_key_id_file, &b->key_id, e);
    if (!status)
        status = read_secret(c->s3_secret_file, &b->secret, e);
    b->options = (struct s3_options){
        .bucket = b->name,
        .endpoint = c->s3_endpoint,
        .region = c->s3_region,
        .key_id = b->key_id ? b->key_id : c->s3_key_id,
        .secret = b->secret ? b->secret : c->s3_secret,
        .token = c->s3_token,
        .ca_file = c->s3_ca_file,
        .path_style = c->s3_path_style == PATH_STYLE_ON ||
                      (c->s3_path_style == PATH_STYLE_AUTO && c->s3_endpoint),
    };
    return status;
}

void bucket_release(struct bucket *b)
{
    free(b->key_id);
    free(b->secret);
    *b = (struct bucket){0};
}
