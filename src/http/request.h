/* One request, as a handler sees it. Everything is borrowed for the life of the request
 * unless it says otherwise. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include "http/response.h"

#include <stdint.h>

struct MHD_Connection;
struct http_head;
struct http_json;

struct http_request {
    void *app;          /* http_server_options.app */
    const char *method; /* "GET" for a HEAD request too */
    const char *path;   /* as sent, without the query */
    const char *id;     /* X-Request-Id: the client's if it is well-formed, else ours */
    const char *client; /* address of the client, as text */
    int64_t content_length;      /* -1: not said */
    struct http_params query;    /* decoded */
    struct http_params captures; /* {name} parts of the path, decoded */
    struct http_response response;
    void *state;           /* the handler's own, between its callbacks */
    void *caller;          /* who asks: set by http_server_options.admit */
    const char *caller_id; /* the same for the log, borrowed of caller; or NULL */
    bool gone;             /* see http_defer; at the end: the answer was not sent whole */
    bool stopping;         /* see http_defer */
    bool is_head;          /* HEAD: the body of the answer is not sent */
    /* For this layer only. */
    const struct http_head *head;
    struct http_later *later;
    struct http_stream *stream;
    struct http_json *json; /* see json_body.h */
    void (*on_end)(struct http_request *r);
    struct MHD_Connection *connection;
};

/* A header's first value, or NULL. */
const char *http_request_header(const struct http_request *r, const char *name);
const char *http_request_query(const struct http_request *r, const char *name);
/* "" when the pattern has no such part. */
const char *http_request_capture(const struct http_request *r, const char *name);

/* Whether the Accept header names this media type itself (not by a wildcard). */
bool http_request_accepts(const struct http_request *r, const char *media_type);

#endif
