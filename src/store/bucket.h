/* A bucket that the settings name: s3://BUCKET/PREFIX with the settings S3_…. */
#ifndef STORE_BUCKET_H
#define STORE_BUCKET_H

#include "base/config.h"
#include "s3/s3.h"

struct bucket {
    struct s3_options options; /* its texts are the config's and these: */
    char name[64];
    char *key_id, *secret; /* owned; NULL: not from a file */
    const char *prefix; /* borrowed from the URL: "" or with a slash at its beginning */
};

/* `url` begins with s3://, and is borrowed like the config. `setting` is where it stands,
 * for messages. Release it in every case. */
int bucket_init(struct bucket *b, const struct config *c, const char *url,
                const char *setting, struct err *e);
void bucket_release(struct bucket *b);

#endif
