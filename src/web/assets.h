/* The files of the page, inside the program: nothing to install, nothing to mislay. */
#ifndef WEB_ASSETS_H
#define WEB_ASSETS_H

#include <stddef.h>

struct web_asset {
    const char *name; /* "index.html" */
    const char *content_type;
    const char *etag;                  /* quoted, of the uncompressed bytes */
    const unsigned char *bytes, *gzip; /* [length], [gzip_length] */
    size_t length, gzip_length;
};

/* NULL when there is none of that name. Static. */
const struct web_asset *web_asset_find(const char *name);

#endif
