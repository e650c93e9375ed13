/* The thread that runs every WebSocket. */
#include "http/ws_private.h"

#include "base/clock.h"
#include "base/log.h"

#define PUMPS_PER_TURN 1024
#define STOP_WAIT_NS   INT64_C(3000000000) /* for the other sides to close */

static void begin(struct http_ws_loop *loop, struct http_ws *ws)
{
    ws->previous = NULL;
    ws->next = loop->sockets;
    if (ws->next)
        ws->next->previous = ws;
    loop->sockets = ws;
    pthread_mutex_lock(&loop->lock);
    ws->begun = true;
    if (loop->left && !ws->close_code)
        ws->close_code = WSLAY_CODE_GOING_AWAY;
    ws_call(ws); /* what it was sent meanwhile */
    pthread_mutex_unlock(&loop->lock);
}

static void accept_incoming(struct http_ws_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct http_ws *ws = loop->incoming;
    loop->incoming = NULL;
    pthread_mutex_unlock(&loop->lock);
    while (ws) {
        struct http_ws *next = ws->next;
        if (ws_begin(ws)) {
            begin(loop, ws);
        } else {
            log_error("a WebSocket was dropped: out of memory");
            ws_drop(ws);
        }
        ws = next;
    }
}

static void finish_loop_if_empty(struct http_ws_loop *loop)
{
    if (loop->sockets || !loop->stop_ns || uv_is_closing((uv_handle_t *)&loop->wake))
        return;
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->tick, NULL);
}

static struct http_ws *next_dirty(struct http_ws_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct http_ws *ws = loop->dirty;
    if (ws) {
        loop->dirty = ws->next_dirty;
        ws->dirty = false;
        if (!loop->dirty)
            loop->dirty_end = &loop->dirty;
    }
    pthread_mutex_unlock(&loop->lock);
    return ws;
}

/* Those that somebody called for, not all: with thousands open most have nothing to do.
 * A turn ends, so that readers get theirs. */
static void pump_dirty(struct http_ws_loop *loop)
{
    struct http_ws *ws = NULL;
    int left = PUMPS_PER_TURN;
    while (left-- > 0 && (ws = next_dirty(loop)))
        ws_pump(ws);
    if (ws)
        uv_async_send(&loop->wake);
}

static void on_wake(uv_async_t *async)
{
    struct http_ws_loop *loop = async->data;
    pthread_mutex_lock(&loop->lock);
    bool leaving = loop->leaving;
    bool stopping = loop->stopping; /* read first: nothing comes in once it is true */
    pthread_mutex_unlock(&loop->lock);
    accept_incoming(loop);
    if (leaving && !loop->left) {
        loop->left = true;
        for (struct http_ws *ws = loop->sockets; ws; ws = ws->next)
            http_ws_close(ws, WSLAY_CODE_GOING_AWAY);
    }
    if (stopping && !loop->stop_ns)
        loop->stop_ns = clock_monotonic_ns() + STOP_WAIT_NS;
    pump_dirty(loop);
    finish_loop_if_empty(loop);
}

static void on_tick(uv_timer_t *timer)
{
    struct http_ws_loop *loop = timer->data;
    int64_t now = clock_monotonic_ns();
    for (struct http_ws *ws = loop->sockets, *next; ws; ws = next) {
        next = ws->next;
        if (loop->stop_ns && now >= loop->stop_ns)
            ws_destroy(ws);
        else
            ws_check_silence(ws, now);
    }
    loop->on_tick(loop->tick_arg);
    finish_loop_if_empty(loop);
}

static void run_loop(void *arg)
{
    struct http_ws_loop *loop = arg;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

int http_ws_loop_start(struct http_ws_loop **out, void (*tick)(void *arg), void *tick_arg,
                       struct err *e)
{
    struct http_ws_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&loop->lock, NULL);
    loop->dirty_end = &loop->dirty;
    loop->on_tick = tick;
    loop->tick_arg = tick_arg;
    int status = uv_loop_init(&loop->uv);
    if (!status) {
        loop->wake.data = loop->tick.data = loop;
        status = uv_async_init(&loop->uv, &loop->wake, on_wake);
    }
    if (!status)
        status = uv_timer_init(&loop->uv, &loop->tick);
    if (!status)
        status = uv_timer_start(&loop->tick, on_tick, 1000, 1000);
    if (!status)
        status = uv_thread_create(&loop->thread, run_loop, loop);
    if (status) {
        /* Start-up ends with it; what libuv holds goes with the process. */
        free(loop);
        return err_set(e, ERR_IO, "cannot start the WebSocket loop: %s",
                       uv_strerror(status));
    }
    *out = loop;
    return 0;
}

void http_ws_loop_leave(struct http_ws_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->leaving = true;
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
}

void http_ws_loop_stop(struct http_ws_loop *loop)
{
    if (!loop || loop->ended)
        return;
    pthread_mutex_lock(&loop->lock);
    loop->leaving = loop->stopping = true;
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
    uv_thread_join(&loop->thread);
    pthread_mutex_lock(&loop->lock);
    loop->ended = true;
    pthread_mutex_unlock(&loop->lock);
    uv_loop_close(&loop->uv);
}

void http_ws_loop_free(struct http_ws_loop *loop)
{
    if (!loop)
        return;
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}
