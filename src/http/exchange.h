/* One request and its answer, from the request line to the line in the log. Private to
 * the HTTP layer. */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include "http/ratelimit.h"
#include "http/server.h"
#include "http/watch.h"

#include <microhttpd.h>
#include <pthread.h>

struct http_server {
    const struct http_route *routes; /* borrowed [n_routes] */
    size_t n_routes;
    void *app; /* borrowed */
    int (*admit)(struct http_request *r, const struct http_route *route);
    void (*leave)(void *caller);
    http_error_shape (*error_shape)(const char *path);
    struct MHD_Daemon *daemon; /* owned */
    int listen_fd;
    int port;
    bool loopback;
    struct http_limiter *limiter; /* owned; NULL: no limit */
    struct http_networks trusted;
    struct http_watch *watch; /* owned */
    struct http_ws_loop *ws;  /* owned */
    pthread_mutex_t lock;
    pthread_cond_t idle;
    pthread_cond_t released; /* a WebSocket has given its connection back */
    int active;              /* under lock: requests that have begun */
    bool stopping;           /* under lock */
};

/* libmicrohttpd's callbacks; `cls` is the server. */
void *exchange_uri(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection,
                                const char *url, const char *method, const char *version,
                                const char *upload_data, size_t *upload_size,
                                void **con_cls);
void exchange_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode how);

/* later.c: wait for, and call, what was deferred. */
void later_run(struct http_request *r);
/* What MHD_create_response_from_callback wants of a stream; `cls` is it. */
ssize_t stream_read(void *cls, uint64_t position, char *out, size_t max);
void stream_free(void *cls);

#endif
