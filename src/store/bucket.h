/* A bucket that the settings name: s3://BUCKET/PREFIX with the settings S3_…. */
#ifndef STORE_BUCKET_H
#define STORE_BUCKET_H

#include "base/config.h"
#include "s3/s3.h"

struct bucket {
    struct s3_options options; /* its texts are the config's, and the name */
    char name[64];
    const char *prefix; /* borrowed from the URL: "" or with a slash at its beginning */
};

/* `url` begins with s3://, and is borrowed like the config. `setting` is where it stands,
 * for messages. ERR_INVALID. */
int bucket_init(struct bucket *b, const struct config *c, const char *url,
                const char *setting, struct err *e);

#endif
