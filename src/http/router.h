/* Which route serves a method and a path: pure, so that tests can ask it anything. */
#ifndef HTTP_ROUTER_H
#define HTTP_ROUTER_H

#include "http/params.h"

struct http_route; /* http/server.h */

enum http_match {
    HTTP_MATCH,     /* *route is set */
    HTTP_NO_PATH,   /* 404 */
    HTTP_NO_METHOD, /* 405; `allow` lists what would do */
    HTTP_BAD_PATH,  /* 400: a broken escape, a NUL, not UTF-8 */
    HTTP_NO_MEMORY, /* 500 */
};

/* Whether the undecoded `path` has the shape of `pattern`, whose segments are literal or
 * "{name}" (one segment, not empty). Segments are decoded after they are split, so that
 * %2F is no slash. Captures are appended to `captures` only on a match. Returns
 * HTTP_MATCH, HTTP_NO_PATH, HTTP_BAD_PATH or HTTP_NO_MEMORY. */
enum http_match http_path_match(const char *pattern, const char *path,
                                struct http_params *captures);

/* Find the route; HEAD is served by GET. `allow` gets "GET, HEAD, POST". */
enum http_match http_router_find(const struct http_route *routes, size_t count,
                                 const char *method, const char *path,
                                 const struct http_route **route,
                                 struct http_params *captures, struct buf *allow);

#endif
