/* A WebSocket's client that does what it likes: an input is what it sends once the
 * handshake is over. Its first byte says how many bytes came with the handshake, its
 * second the size of the pieces of the rest.
 *
 * The messages that a handler sees do not depend on either, are within the limit, and in
 * the end the socket is closed, once. */
#include "fuzz.h"

#include "http/ws_private.h"

#include <sys/socket.h>
#include <unistd.h>

struct seen {
    struct buf messages;
    int closed, released;
};

static void on_message(void *state, struct http_ws *ws, const char *bytes, size_t length,
                       bool is_text)
{
    struct seen *s = state;
    (void)ws;
    HOLDS(length <= HTTP_WS_MESSAGE_MAX && !s->closed);
    buf_printf(&s->messages, "[%d %zu ", is_text, length);
    buf_add(&s->messages, bytes, length);
    buf_char(&s->messages, ']');
}

static void *on_open(struct http_request *r, struct http_ws *ws)
{
    http_ws_send(ws, "{}", 2);
    return r->state;
}

static void on_close(void *state)
{
    struct seen *s = state;
    s->closed++;
}

static void on_release(void *arg)
{
    struct seen *s = arg;
    s->released++;
}

static const struct http_ws_handler handler = {NULL, on_open, on_message, on_close};

/* The loop without its thread. */
static struct http_ws_loop *make_loop(void)
{
    static struct http_ws_loop loop;
    if (loop.dirty_end)
        return &loop;
    pthread_mutex_init(&loop.lock, NULL);
    loop.dirty_end = &loop.dirty;
    HOLDS(!uv_loop_init(&loop.uv) && !uv_async_init(&loop.uv, &loop.wake, NULL));
    return &loop;
}

/* What ws_loop.c does with a socket that has come in. */
static struct http_ws *take_in(struct http_ws_loop *loop)
{
    struct http_ws *ws = loop->incoming;
    loop->incoming = NULL;
    HOLDS(ws && ws_begin(ws));
    ws->next = ws->previous = NULL;
    loop->sockets = ws;
    return ws;
}

static void pump(struct http_ws_loop *loop, int peer)
{
    char dropped[4096];
    if (loop->sockets)
        ws_pump(loop->sockets);
    (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    while (peer >= 0 && recv(peer, dropped, sizeof dropped, MSG_DONTWAIT) > 0)
        ;
}

static void talk(const char *bytes, size_t length, size_t first, size_t piece,
                 struct seen *seen)
{
    int ends[2];
    struct http_ws_loop *loop = make_loop();
    struct http_request r = {.state = seen};
    HOLDS(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    first = first < length ? first : length;
    const struct http_ws_socket socket = {.fd = ends[1],
                                          .first = bytes,
                                          .first_length = first,
                                          .release = on_release,
                                          .release_arg = seen};
    HOLDS(!http_ws_add(loop, &socket, &handler, &r));
    (void)take_in(loop);
    pump(loop, ends[0]);
    for (size_t at = first; at < length && loop->sockets; at += piece) {
        size_t n = length - at < piece ? length - at : piece;
        if (send(ends[0], bytes + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        pump(loop, ends[0]);
    }
    close(ends[0]);
    for (int i = 0; i < 8 && loop->sockets; i++)
        pump(loop, -1);
    HOLDS(!loop->sockets);
    (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    HOLDS(seen->closed == 1 && seen->released == 1);
    close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 4096)
        return 0;
    const char *bytes = (const char *)data + 2;
    size_t length = size - 2, piece = (size_t)data[1] * 16 + 16;
    struct seen whole = {0}, pieces = {0};
    buf_init(&whole.messages, (size_t)1 << 20);
    buf_init(&pieces.messages, (size_t)1 << 20);
    talk(bytes, length, length, 1, &whole);
    talk(bytes, length, data[0], piece, &pieces);
    HOLDS(whole.messages.length == pieces.messages.length &&
          !memcmp(buf_cstr(&whole.messages), buf_cstr(&pieces.messages),
                  whole.messages.length));
    buf_release(&whole.messages);
    buf_release(&pieces.messages);
    return 0;
}
