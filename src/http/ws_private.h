/* What the two halves of the WebSocket code share: a socket (ws.c) and the loop that runs
 * them all (ws_loop.c). Private to both. */
#ifndef HTTP_WS_PRIVATE_H
#define HTTP_WS_PRIVATE_H

#include "http/ws.h"

#include <pthread.h>
#include <uv.h>
#include <wslay/wslay.h>

struct message {
    struct message *next;
    size_t length;
    char text[];
};

struct http_ws {
    struct http_ws_loop *loop;             /* borrowed */
    const struct http_ws_handler *handler; /* borrowed */
    void *state;                           /* the handler's */
    struct http_ws_socket socket;
    char *first; /* owned: came with the handshake */
    size_t first_length, first_at;

    /* Under loop->lock: what other threads ask for. */
    struct message *outbox, **outbox_end;
    size_t outbox_bytes;
    int close_code; /* 0: stay open */
    bool overflow;
    bool begun; /* the loop's thread has it; before, nobody need call that */
    bool dirty; /* in loop->dirty */
    struct http_ws *next_dirty;

    /* The loop's thread only. */
    struct http_ws *next, *previous;
    wslay_event_context_ptr wslay;
    uv_poll_t poll;
    bool pinged, lingering, closing, ended;
    int closing_code; /* to be sent when all messages are out; 0: none */
    bool blocked;     /* the last send stopped short, perhaps within a frame */
    int64_t seen_ns, deadline_ns; /* deadline 0: none */
    size_t turn_bytes;
};

struct http_ws_loop {
    pthread_mutex_t lock;
    struct http_ws *incoming;           /* under lock; linked by next */
    struct http_ws *dirty, **dirty_end; /* under lock; by next_dirty: to be pumped */
    bool leaving;                       /* under lock: who is here is sent away */
    bool stopping, ended; /* under lock; ended: there is no thread any more */
    void (*on_tick)(void *arg);
    void *tick_arg;

    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t tick;
    uv_thread_t thread;
    struct http_ws *sockets; /* the loop's thread only, as all below */
    bool left;               /* who was here has been told */
    int64_t stop_ns;         /* 0: not stopping */
};

/* Under loop->lock: have the loop's thread pump the socket soon. */
void ws_call(struct http_ws *ws);

/* The loop's thread only, all of these. */

/* Ready a socket that has come in; false when memory is out. */
bool ws_begin(struct http_ws *ws);
/* Move everything that can be moved without waiting; may destroy the socket. */
void ws_pump(struct http_ws *ws);
/* Ping, or give up on, one that has been silent too long; may destroy it. */
void ws_check_silence(struct http_ws *ws, int64_t now_ns);
/* Take it out of the loop's list, tell its handler, close it a little later. */
void ws_destroy(struct http_ws *ws);
/* One that ws_begin refused: tell its handler, close it, free it. */
void ws_drop(struct http_ws *ws);

#endif
