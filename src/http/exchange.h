/* One request and its answer, from the request line to the line in the log. Private to
 * the HTTP layer.
 *
 * Two kinds of threads take part. libmicrohttpd's few read and write sockets and never
 * block; they call exchange_uri, exchange_handle and exchange_completed. Everything that
 * may block (whoever is asked by `admit`, a route's handler, a form's callbacks) runs on
 * the pool, one task of an exchange at a time. Meanwhile the connection is parked
 * (suspended), so that the library does not touch it; only a body is read on while its
 * last piece is being written (body.c). */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include "http/address.h"
#include "http/chunks.h"
#include "http/head.h"
#include "http/later.h"
#include "http/pool.h"
#include "http/ratelimit.h"
#include "http/server.h"
#include "http/tally.h"
#include "http/waiter.h"
#include "http/watch.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

struct http_peers;

struct http_server {
    const struct http_route *routes; /* borrowed [n_routes] */
    size_t n_routes;
    void *app; /* borrowed */
    int (*admit)(struct http_request *r, const struct http_route *route);
    void (*leave)(void *caller);
    http_error_shape (*error_shape)(const char *path);
    struct MHD_Daemon *daemon; /* owned */
    int listen_fd;
    bool given; /* the service manager holds listen_fd, too */
    int port;
    bool loopback;
    struct http_limiter *limiter;          /* owned; NULL: no limit */
    struct http_networks *_Atomic trusted; /* owned; see http_server_trust */
    struct retired *retired;               /* owned: lists of before */
    struct http_watch *watch;              /* owned */
    struct http_ws_loop *ws;               /* owned */
    struct http_pool *pool;                /* owned */
    struct http_waiter *waiter;            /* owned */
    struct http_peers *peers;              /* owned */
    struct http_tally *tally;              /* owned */
    int per_client;                        /* connections of one client */
    unsigned max_connections;              /* of all */
    pthread_mutex_t lock; /* held for moments; nothing is called under it */
    pthread_cond_t idle;
    int active;          /* under lock: requests that have begun */
    bool stopping;       /* under lock: no more requests begin */
    atomic_bool leaving; /* every connection ends with its answer */
    atomic_int large;    /* bodies whose pieces are large: body.c */
};

/* What is kept for a connection: libmicrohttpd's socket context. */
struct http_connection {
    struct http_watched *watched; /* borrowed */
    struct http_address peer;
    bool counted; /* in peers */
};

enum exchange_stage {
    EXCHANGE_HEAD,   /* the head is coming, or being judged */
    EXCHANGE_BODY,   /* the body is coming */
    EXCHANGE_END,    /* the request is whole, its handler runs or waits */
    EXCHANGE_ANSWER, /* r->response is to go out */
    EXCHANGE_DRAIN,  /* refused: what still comes is dropped */
    EXCHANGE_DROP,   /* nobody is there to answer */
};

struct http_later {
    struct exchange *exchange;
    void (*resume)(struct http_request *r);
    int64_t timeout_ms;
    bool waiting, woken;    /* under the server's lock */
    enum http_wait_end why; /* under the server's lock; TIME also when it was woken */
};

/* What a request's body goes through on its way to the pool: one piece is filled while
 * the other is being fed to the form. */
struct exchange_body {
    pthread_mutex_t lock;
    struct buf filling; /* under lock */
    struct buf eating;  /* of the feeding task */
    bool feeding;       /* under lock: a task is waiting or running */
    bool broken;        /* under lock: it refused; the answer is in r->response */
    bool parked;        /* under lock: the feeding task is to resume the connection */
    bool over;          /* under lock: the feeding task is to finish the exchange */
    size_t piece;       /* under lock: bytes that `filling` takes */
    int64_t total, max; /* bytes */
};

struct exchange {
    struct http_request request;
    struct http_server *server;         /* borrowed */
    struct http_connection *connection; /* borrowed; NULL when memory was out */
    const struct http_route *route;     /* NULL before it is known */
    struct http_form *form;             /* owned */
    struct http_head *head;             /* owned */
    char *uri;                          /* owned: path, a NUL, query */
    const char *query;                  /* in uri */
    size_t uri_length;                  /* as it came, up to a NUL */
    char method[16];
    char id[65];
    char client[HTTP_ADDRESS_TEXT];
    struct http_address client_address;
    int64_t started_ns;
    enum exchange_stage stage;
    bool head_seen, head_passed, is_head, has_body, body_whole, expects;
    bool body_wanted; /* the client may have been told to send it (100 Continue) */
    bool worked;      /* the pool has had it */
    bool chunked;
    struct http_chunks chunks;
    bool counted, bodied, broken_off;
    bool last; /* of its connection, whatever still comes */
    size_t answered_bytes;
    struct http_task task;
    void (*work)(struct exchange *x); /* of task */
    struct exchange_body body;
    struct http_later later;
    struct http_wait wait;                     /* of later, or of the stream */
    struct MHD_UpgradeResponseHandle *upgrade; /* borrowed; NULL: no WebSocket */
    struct http_ws_socket socket;
};

/* ---- server.c ---- */
/* Everything but the daemon, which has ended or never began. */
void http_server_free(struct http_server *s);

/* ---- exchange.c: libmicrohttpd's callbacks; `cls` is the server. ---- */
void *exchange_uri(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection,
                                const char *url, const char *method, const char *version,
                                const char *upload_data, size_t *upload_size,
                                void **con_cls);
void exchange_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode how);
/* Park the connection (on the library's thread) and let the pool do `work`. */
void exchange_park(struct exchange *x, void (*work)(struct exchange *x));
/* On the pool: let the pool do `work` later; the connection is parked already. */
void exchange_work(struct exchange *x, void (*work)(struct exchange *x));
/* On the pool: the connection goes on where x->stage says. Not ours afterwards. */
void exchange_go(struct exchange *x);
/* The request is over, the connection gone or with its next one. */
void exchange_finish(struct exchange *x);
int exchange_fd(const struct exchange *x);

/* ---- entry.c: whether the request may come in ---- */
/* By its head, without blocking; the answer is in r->response on error. */
int exchange_judge(struct exchange *x, const char *method, const char *version);
/* What may block: who asks, and the route's own opinion. */
int exchange_admit(struct exchange *x);

/* ---- body.c ---- */
void exchange_body_init(struct exchange *x);
void exchange_body_release(struct exchange *x);
/* As libmicrohttpd's handler: takes what there is room for. Returns false when the body
 * has been refused. */
bool exchange_body_take(struct exchange *x, const char *bytes, size_t *length);
enum exchange_body_state {
    EXCHANGE_BODY_BUSY, /* parked until it has been fed */
    EXCHANGE_BODY_FED,
    EXCHANGE_BODY_BROKEN,
};
/* The body is whole. */
enum exchange_body_state exchange_body_end(struct exchange *x);
/* The client has gone: whether the exchange can be finished now; else it will be. */
bool exchange_body_over(struct exchange *x);

/* ---- answer.c ---- */
/* Queue r->response. */
enum MHD_Result exchange_answer(struct exchange *x);
/* The body has not been read whole: say no on the socket, and drop what comes. */
enum MHD_Result exchange_refuse(struct exchange *x);
/* On the pool: whether this is a handshake, and may be; r->response says. */
void exchange_handshake(struct exchange *x);

/* ---- later.c ---- */
/* On the pool, after a handler: run what was deferred as far as it goes. False when the
 * request waits: then it is not ours any more. */
bool exchange_later(struct exchange *x);

/* ---- stream.c ---- */
/* A response whose bytes come from r->stream; NULL: out of memory. */
struct MHD_Response *exchange_stream_response(struct exchange *x);
/* It has been queued: watch the client. */
void exchange_stream_begin(struct exchange *x);
/* The connection has gone, or is with its next request. */
void exchange_stream_detach(struct exchange *x);
/* Tell its owner, free it. */
void exchange_stream_release(struct exchange *x);

#endif
