#include "store/bucket.h"

#include <string.h>

int bucket_init(struct bucket *b, const struct config *c, const char *url,
                const char *setting, struct err *e)
{
    const char *name = url + strlen("s3://");
    size_t length = strcspn(name, "/");
    *b = (struct bucket){.prefix = name + length};
    if (length >= sizeof b->name)
        return err_set(e, ERR_INVALID, "the bucket's name in %s is too long", setting);
    memcpy(b->name, name, length);
    b->options = (struct s3_options){
        .bucket = b->name,
        .endpoint = c->s3_endpoint,
        .region = c->s3_region,
        .key_id = c->s3_key_id,
        .secret = c->s3_secret,
        .token = c->s3_token,
        .ca_file = c->s3_ca_file,
        .path_style = c->s3_path_style == PATH_STYLE_ON ||
                      (c->s3_path_style == PATH_STYLE_AUTO && c->s3_endpoint),
    };
    return 0;
}
