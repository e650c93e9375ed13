/* The head of a request, copied: handlers read it on threads of their own, also after the
 * connection has gone. Private to the HTTP layer. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "http/response.h"

struct MHD_Connection;

#define HTTP_HEAD_BYTES  ((size_t)16 << 10) /* request line and headers; more is 431 */
#define HTTP_HEAD_FIELDS 100                /* headers; more is 431 */

struct http_field {
    const char *name, *value; /* in the same block as the list */
};

struct http_head {
    size_t count;
    struct http_field list[];
};

/* Copy the headers of the connection's request; `method` and `version` are what
 * libmicrohttpd passed with it. A head that two servers could read in two ways (a line
 * that ends with a bare LF, a folded line, a NUL, a CR or a space in a name) is refused:
 * then a negative code, with the answer in *refusal. Free with free(). */
int http_head_copy(struct http_head **out, struct MHD_Connection *connection,
                   const char *method, const char *version,
                   struct http_response *refusal);

/* Bytes of the connection's head, from the method to the empty line, both included. */
size_t http_head_size(struct MHD_Connection *connection);

/* The first value, or NULL; `head` may be NULL. */
const char *http_head_get(const struct http_head *head, const char *name);

#endif
