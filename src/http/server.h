/* The HTTP server: a thin layer over libmicrohttpd that knows nothing of speech.
 *
 * It refuses what is ambiguous before anything is read (two Content-Length, a length and
 * chunks, NUL bytes), limits how much, how often and how slowly a client may send, gives
 * every request an id, every answer its security headers and the log a line. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "http/form.h"
#include "http/ws.h"

struct http_route {
    const char *method;  /* "GET" serves HEAD too */
    const char *pattern; /* "/jobs/{id}" */
    /* Fill r->response, or defer, or stream (later.h). May block: it runs on a pool of
     * threads, and while all of those are busy, and a line of requests is waiting for
     * them, others are answered 503. NULL when `ws` is set. */
    void (*handle)(struct http_request *r);
    const struct http_form_handler *form; /* NULL: the body is read and dropped */
    const struct http_ws_handler *ws;     /* NULL: no WebSocket */
    bool limited;                         /* counts against the rate limit */
    const struct http_body_handler *body; /* NULL: no body but a form's */
    int access;                           /* who may: for `admit` */
};

struct http_server_options {
    const char *host;                /* borrowed: a name or an address */
    int port;                        /* 0: any free one */
    int given_socket;                /* one that listens already; 0: none */
    const char *rate_limit;          /* borrowed: see http_limiter_new */
    const char *trusted_proxies;     /* borrowed: see http_networks_parse */
    int max_connections;             /* 0: a sensible number */
    int max_per_client;              /* of one address; 0: a sensible number */
    int idle_seconds;                /* 0: a sensible number */
    const struct http_route *routes; /* borrowed [n_routes], outlive the server */
    size_t n_routes;
    void *app; /* borrowed: r->app */
    /* Whether the request may go on, by its head alone: 0, with r->caller set, or a
     * negative code with the refusal in r->response. May block. NULL: all may. */
    int (*admit)(struct http_request *r, const struct http_route *route);
    void (*leave)(void *caller); /* release r->caller, when it is set; or NULL */
    /* How errors under this path look, whoever refuses; NULL, or a NULL answer: as
     * everywhere. */
    http_error_shape (*error_shape)(const char *path);
};

struct http_server;

/* Listen and serve. ERR_EXISTS when the port is taken, ERR_INVALID for a bad option. */
int http_server_start(struct http_server **out, const struct http_server_options *options,
                      struct err *e);
int http_server_port(const struct http_server *s);
/* Whether only this machine can reach it. */
bool http_server_loopback(const struct http_server *s);
/* Whether its threads still take connections: by coming in as a client would. ERR_TIMEOUT
 * when nobody has come to the door in `seconds`. */
int http_server_alive(const struct http_server *s, int seconds, struct err *e);
/* The beginning of the end: from now on every answer ends its connection, so that who
 * keeps one goes elsewhere. After `delay_seconds` no new connections are taken, and those
 * that were on their way here are in. */
void http_server_leave(struct http_server *s, int delay_seconds);
/* The same without a delay, unless it has happened; end WebSockets and streams, answer
 * what has reached us (within `grace_seconds`), close. */
void http_server_stop(struct http_server *s, int grace_seconds);

#endif
