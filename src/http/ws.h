/* WebSockets (RFC 6455): one thread with one event loop serves every open socket.
 *
 * Progress needs few bytes on many connections that stay open for hours; a thread each
 * would be waste. wslay does the framing and its checks, libuv the waiting. A reader that
 * does not keep up is dropped when its backlog reaches HTTP_WS_BACKLOG. */
#ifndef HTTP_WS_H
#define HTTP_WS_H

#include "http/request.h"

#define HTTP_WS_MESSAGE_MAX                                                              \
    ((size_t)64 << 10)                      /* bytes; a longer one closes with 1009      \
                                             */
#define HTTP_WS_BACKLOG ((size_t)256 << 10) /* bytes waiting for one reader */

struct http_ws;

struct http_ws_handler {
    /* Before the upgrade, on a handler's thread: 0, or a negative code with the
     * refusal in r->response. */
    int (*check)(struct http_request *r);
    /* The socket is open; again on a handler's thread, so it may block. The result
     * is passed to the others; NULL closes the socket with 1011. */
    void *(*open)(struct http_request *r, struct http_ws *ws);
    /* A whole message from the client, on the loop's thread: be short. May be NULL. */
    void (*message)(void *state, struct http_ws *ws, const char *bytes, size_t length,
                    bool is_text);
    /* The last call, on the loop's thread; `ws` may not be used once it has returned. */
    void (*close)(void *state);
};

/* Send a text message, from any thread between open and close; copied, never blocks. */
void http_ws_send(struct http_ws *ws, const char *text, size_t length);
/* Close in good order once everything sent so far is out: 1000, 1001, 1011 … */
void http_ws_close(struct http_ws *ws, int code);

/* ---- for server.c ---- */
struct http_ws_loop;
/* `tick` is called about once a second on the loop's thread. */
int http_ws_loop_start(struct http_ws_loop **out, void (*tick)(void *arg), void *tick_arg,
                       struct err *e);
/* Close every socket with 1001, and each that comes from now on. */
void http_ws_loop_leave(struct http_ws_loop *loop);
/* The same, and wait, a few seconds at most, until all are gone. */
void http_ws_loop_stop(struct http_ws_loop *loop);
/* Stopped before. Until then http_ws_add may be called, and refuses. */
void http_ws_loop_free(struct http_ws_loop *loop);

/* A socket that was upgraded: `first` holds bytes that came with the handshake.
 * `release` is called with `release_arg` when the socket is to be closed. On error the
 * caller keeps the socket. */
struct http_ws_socket {
    int fd;
    const void *first;
    size_t first_length;
    void (*release)(void *release_arg);
    void *release_arg;
};
int http_ws_add(struct http_ws_loop *loop, const struct http_ws_socket *socket,
                const struct http_ws_handler *handler, struct http_request *r);

#define HTTP_WS_ACCEPT_SIZE 29
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; false when the key is malformed. */
bool http_ws_accept(const char *key, char out[HTTP_WS_ACCEPT_SIZE]);

#endif
