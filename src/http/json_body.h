/* A request whose body is JSON: collected up to a limit, parsed once it is whole.
 *
 * Nested too deep, a name twice in one object, a NUL in a string, anything behind the
 * end: all of these are refused with a sentence, so a handler sees an object that says
 * one thing. */
#ifndef HTTP_JSON_BODY_H
#define HTTP_JSON_BODY_H

#include "http/form.h"

#define HTTP_JSON_MAX   ((size_t)4 << 20) /* bytes; a route's own limit is below it */
#define HTTP_JSON_DEPTH 32                /* objects and arrays within one another */

/* Defines `name`, the body handler of a route that takes at most `limit` bytes of JSON:
 *
 *     HTTP_JSON_BODY(key_body, 16 << 10);
 *     {"POST", "/keys", create_key, .body = &key_body}
 *
 * Its handler begins with http_json_body. r->state stays the handler's own. */
#define HTTP_JSON_BODY(name, limit)                                                      \
    static int64_t name##_max_bytes(struct http_request *r)                              \
    {                                                                                    \
        (void)r;                                                                         \
        return (int64_t)(limit);                                                         \
    }                                                                                    \
    static const struct http_body_handler name = {name##_max_bytes, http_json_begin,     \
                                                  http_json_data, http_json_done}

/* In the route's handler, or later in the same request: the object that was sent,
 * borrowed for the life of the request. NULL when it is not to be had: then the refusal
 * (400, 415 …) is in r->response, and the handler returns. */
json_t *http_json_body(struct http_request *r);

/* The same for bytes from elsewhere (a WebSocket's message): a new reference to an
 * object, or NULL with a sentence. */
json_t *http_json_parse(const char *bytes, size_t length, struct err *e);

/* For the macro alone. */
int http_json_begin(struct http_request *r);
int http_json_data(struct http_request *r, const void *bytes, size_t length);
void http_json_done(struct http_request *r);

#endif
