/* multipart/form-data as a stream (RFC 7578, RFC 2046): parts are handed on as their
 * bytes come, whatever the size of a part and wherever the network cut it.
 *
 * libmicrohttpd has a parser of its own; it takes a body that ends before its closing
 * boundary for complete, knows no escapes in file names and has no limit on the number of
 * parts. Uploads are the widest door of this program, so the parser is ours, strict, and
 * fuzzed. */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include "base/err.h"

#include <stddef.h>

#define MULTIPART_HEAD_MAX  8192 /* bytes of one part's header */
#define MULTIPART_PARTS_MAX 200

/* The header of a part; everything is borrowed for the call. */
struct multipart_part {
    const char *name;         /* of the field, UTF-8 */
    const char *filename;     /* as sent, repaired to UTF-8; NULL when there is none */
    const char *content_type; /* "" when there is none */
};

/* A negative return stops the parser, which returns it; `e` goes through. */
struct multipart_callbacks {
    void *arg;
    int (*begin)(void *arg, const struct multipart_part *part, struct err *e);
    int (*data)(void *arg, const void *bytes, size_t length, struct err *e);
    int (*end)(void *arg, struct err *e);
};

struct multipart;

/* `content_type` is the request's header: ERR_UNSUPPORTED when it is not
 * multipart/form-data, ERR_INVALID for a bad boundary. The callbacks are copied. */
int multipart_new(struct multipart **out, const char *content_type,
                  const struct multipart_callbacks *callbacks, struct err *e);
void multipart_free(struct multipart *m);

/* The next bytes of the body. ERR_INVALID or ERR_TOO_LARGE with a sentence when the form
 * is malformed; after an error only multipart_free may follow. */
int multipart_feed(struct multipart *m, const void *bytes, size_t length, struct err *e);
/* The body is over: ERR_INVALID when the closing boundary has not been seen. */
int multipart_finish(struct multipart *m, struct err *e);

#endif
