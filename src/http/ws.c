#include "http/ws_private.h"

#include "base/clock.h"
#include "http/refuse.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECOND            INT64_C(1000000000)
#define PING_AFTER        (20 * SECOND) /* of silence */
#define GIVE_UP_AFTER     (45 * SECOND) /* of silence */
#define CLOSE_WAIT        (5 * SECOND)  /* for the other side's close frame … */
#define LEAVE_WAIT        (2 * SECOND)  /* … when we stop */
#define LINGER            (1 * SECOND)
#define READ_PER_TURN     65536 /* so that one flood does not starve the others */
#define QUEUED_FRAMES_MAX 1024

/* ---- any thread ----------------------------------------------------------------- */

void ws_call(struct http_ws *ws)
{
    if (!ws->begun || ws->loop->ended)
        return;
    if (!ws->dirty) {
        ws->dirty = true;
        ws->next_dirty = NULL;
        *ws->loop->dirty_end = ws;
        ws->loop->dirty_end = &ws->next_dirty;
    }
    uv_async_send(&ws->loop->wake);
}

void http_ws_send(struct http_ws *ws, const char *text, size_t length)
{
    struct message *m = malloc(sizeof *m + length);
    pthread_mutex_lock(&ws->loop->lock);
    if (!m || ws->close_code || ws->outbox_bytes + length > HTTP_WS_BACKLOG) {
        ws->overflow = ws->overflow || !ws->close_code;
        free(m);
    } else {
        m->next = NULL;
        m->length = length;
        memcpy(m->text, text, length);
        *ws->outbox_end = m;
        ws->outbox_end = &m->next;
        ws->outbox_bytes += length;
    }
    ws_call(ws);
    pthread_mutex_unlock(&ws->loop->lock);
}

void http_ws_close(struct http_ws *ws, int code)
{
    pthread_mutex_lock(&ws->loop->lock);
    if (!ws->close_code)
        ws->close_code = code;
    ws_call(ws);
    pthread_mutex_unlock(&ws->loop->lock);
}

static void free_outbox(struct http_ws *ws)
{
    while (ws->outbox) {
        struct message *m = ws->outbox;
        ws->outbox = m->next;
        free(m);
    }
    ws->outbox_end = &ws->outbox;
    ws->outbox_bytes = 0;
}

static void prepare_fd(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    int yes = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static struct http_ws *ws_new(struct http_ws_loop *loop, const struct http_ws_socket *s,
                              const struct http_ws_handler *handler)
{
    struct http_ws *ws = calloc(1, sizeof *ws);
    char *first = malloc(s->first_length + 1);
    if (!ws || !first) {
        free(ws);
        free(first);
        return NULL;
    }
    if (s->first_length)
        memcpy(first, s->first, s->first_length);
    ws->loop = loop;
    ws->handler = handler;
    ws->socket = *s;
    ws->first = first;
    ws->first_length = s->first_length;
    ws->outbox_end = &ws->outbox;
    return ws;
}

int http_ws_add(struct http_ws_loop *loop, const struct http_ws_socket *socket,
                const struct http_ws_handler *handler, struct http_request *r)
{
    struct http_ws *ws = ws_new(loop, socket, handler);
    if (!ws)
        return ERR_NOMEM;
    prepare_fd(socket->fd);
    ws->state = handler->open(r, ws);
    if (!ws->state)
        http_ws_close(ws, WSLAY_CODE_INTERNAL_SERVER_ERROR);
    pthread_mutex_lock(&loop->lock);
    bool stopping = loop->stopping;
    if (!stopping) {
        ws->next = loop->incoming;
        loop->incoming = ws;
        uv_async_send(&loop->wake); /* under the lock: the loop cannot end meanwhile */
    }
    pthread_mutex_unlock(&loop->lock);
    if (stopping) {
        if (ws->state)
            handler->close(ws->state);
        free_outbox(ws);
        free(ws->first);
        free(ws);
        return ERR_STATE;
    }
    return 0;
}

/* ---- wslay's callbacks ------------------------------------------------------------ */

static ssize_t on_recv(wslay_event_context_ptr context, uint8_t *to, size_t length,
                       int flags, void *arg)
{
    (void)flags;
    struct http_ws *ws = arg;
    if (ws->first_at < ws->first_length) {
        size_t left = ws->first_length - ws->first_at;
        size_t n = left < length ? left : length;
        memcpy(to, ws->first + ws->first_at, n);
        ws->first_at += n;
        return (ssize_t)n;
    }
    ssize_t n = -1;
    errno = EAGAIN;
    while (ws->turn_bytes < READ_PER_TURN &&
           (n = recv(ws->socket.fd, to, length, 0)) < 0 && errno == EINTR)
        ;
    if (n > 0) {
        ws->turn_bytes += (size_t)n;
        ws->seen_ns = clock_monotonic_ns();
        ws->pinged = false;
        return n;
    }
    bool again = n < 0 && (errno == EAGAIN);
    ws->ended = ws->ended || !again;
    wslay_event_set_error(context,
                          again ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *bytes,
                       size_t length, int flags, void *arg)
{
    (void)flags;
    struct http_ws *ws = arg;
    ssize_t n;
    while ((n = send(ws->socket.fd, bytes, length, MSG_NOSIGNAL)) < 0 && errno == EINTR)
        ;
    ws->blocked = n < 0 || (size_t)n < length;
    if (n < 0)
        wslay_event_set_error(context, errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK
                                                       : WSLAY_ERR_CALLBACK_FAILURE);
    return n;
}

static void on_message(wslay_event_context_ptr context,
                       const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
    (void)context;
    struct http_ws *ws = arg;
    bool control =
        message->opcode != WSLAY_TEXT_FRAME && message->opcode != WSLAY_BINARY_FRAME;
    if (control || !ws->state || !ws->handler->message)
        return;
    ws->handler->message(ws->state, ws, (const char *)message->msg, message->msg_length,
                         message->opcode == WSLAY_TEXT_FRAME);
}

/* ---- the loop's thread ------------------------------------------------------------ */

static void on_poll_closed(uv_handle_t *handle)
{
    struct http_ws *ws = handle->data;
    wslay_event_context_free(ws->wslay);
    ws->socket.release(ws->socket.release_arg);
    free_outbox(ws);
    free(ws->first);
    free(ws);
}

/* After the handler's close nobody calls for it again. */
static void forget_call(struct http_ws *ws)
{
    pthread_mutex_lock(&ws->loop->lock);
    ws->begun = false;
    struct http_ws **at = &ws->loop->dirty;
    while (ws->dirty && *at != ws)
        at = &(*at)->next_dirty;
    if (ws->dirty) {
        *at = ws->next_dirty;
        if (!*at)
            ws->loop->dirty_end = at;
    }
    ws->dirty = false;
    pthread_mutex_unlock(&ws->loop->lock);
}

void ws_destroy(struct http_ws *ws)
{
    if (ws->closing)
        return;
    ws->closing = true;
    if (ws->previous)
        ws->previous->next = ws->next;
    else
        ws->loop->sockets = ws->next;
    if (ws->next)
        ws->next->previous = ws->previous;
    if (ws->state)
        ws->handler->close(ws->state);
    ws->state = NULL;
    forget_call(ws);
    uv_poll_stop(&ws->poll);
    uv_close((uv_handle_t *)&ws->poll, on_poll_closed);
}

/* Hand what other threads sent to wslay. Returns false when the reader is too slow. */
static bool take_outbox(struct http_ws *ws)
{
    pthread_mutex_lock(&ws->loop->lock);
    struct message *m = ws->outbox;
    int code = ws->close_code;
    bool good = !ws->overflow;
    ws->outbox = NULL;
    ws->outbox_end = &ws->outbox;
    ws->outbox_bytes = 0;
    pthread_mutex_unlock(&ws->loop->lock);
    while (m) {
        struct message *next = m->next;
        struct wslay_event_msg frame = {WSLAY_TEXT_FRAME, (const uint8_t *)m->text,
                                        m->length};
        /* After a close frame wslay takes no more, and that is right. */
        (void)wslay_event_queue_msg(ws->wslay, &frame);
        free(m);
        m = next;
    }
    if (code && !ws->deadline_ns) {
        ws->closing_code = code;
        ws->deadline_ns =
            clock_monotonic_ns() + (ws->loop->left ? LEAVE_WAIT : CLOSE_WAIT);
    }
    return good && wslay_event_get_queued_msg_length(ws->wslay) <= HTTP_WS_BACKLOG &&
           wslay_event_get_queued_msg_count(ws->wslay) <= QUEUED_FRAMES_MAX;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void wait_for(struct http_ws *ws, int events)
{
    if (uv_poll_start(&ws->poll, events, on_poll))
        ws_destroy(ws);
}

/* Closing a socket with unread bytes sends a reset, which may overtake our close frame;
 * so end our side, and read what still comes for a moment. */
static void linger(struct http_ws *ws)
{
    if (!ws->lingering) {
        ws->lingering = true;
        shutdown(ws->socket.fd, SHUT_WR);
        ws->deadline_ns = clock_monotonic_ns() + LINGER;
    }
    if (!http_drop_unread(ws->socket.fd) || ws->ended)
        ws_destroy(ws);
    else
        wait_for(ws, UV_READABLE);
}

/* wslay answers most of what is wrong with the right code, but of a frame whose header is
 * malformed it only says that it failed. */
static void refuse(struct http_ws *ws)
{
    static const uint8_t close_1002[] = {0x88, 0x02, 0x03, 0xEA};
    ssize_t n = -1;
    if (!ws->ended && !ws->blocked)
        n = send(ws->socket.fd, close_1002, sizeof close_1002, MSG_NOSIGNAL);
    if (n == (ssize_t)sizeof close_1002)
        linger(ws);
    else
        ws_destroy(ws);
}

/* Send what the socket takes. wslay lets control frames overtake messages, so a close of
 * ours waits until there are none. */
static bool send_all(struct http_ws *ws)
{
    if (wslay_event_want_write(ws->wslay) && wslay_event_send(ws->wslay))
        return false;
    if (!ws->closing_code || wslay_event_get_queued_msg_count(ws->wslay) > 0)
        return true;
    (void)wslay_event_queue_close(ws->wslay, (uint16_t)ws->closing_code, NULL, 0);
    ws->closing_code = 0;
    return wslay_event_send(ws->wslay) == 0;
}

/* Move everything that can be moved without waiting. Ours goes first, so that a client
 * that says goodbye, or nonsense, at once still hears what it came for. */
void ws_pump(struct http_ws *ws)
{
    if (ws->lingering) {
        linger(ws);
        return;
    }
    ws->turn_bytes = 0;
    if (!take_outbox(ws) || !send_all(ws)) {
        ws_destroy(ws);
        return;
    }
    if (wslay_event_want_read(ws->wslay) && wslay_event_recv(ws->wslay)) {
        refuse(ws);
        return;
    }
    if (!send_all(ws)) {
        ws_destroy(ws);
        return;
    }
    bool reads = wslay_event_want_read(ws->wslay);
    bool writes = wslay_event_want_write(ws->wslay);
    if (!reads && !writes)
        linger(ws);
    else
        wait_for(ws, (reads ? UV_READABLE : 0) | (writes ? UV_WRITABLE : 0));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct http_ws *ws = poll->data;
    if (status < 0)
        ws_destroy(ws);
    else
        ws_pump(ws);
}

bool ws_begin(struct http_ws *ws)
{
    static const struct wslay_event_callbacks callbacks = {.recv_callback = on_recv,
                                                           .send_callback = on_send,
                                                           .on_msg_recv_callback =
                                                               on_message};
    if (wslay_event_context_server_init(&ws->wslay, &callbacks, ws))
        return false;
    wslay_event_config_set_max_recv_msg_length(ws->wslay, HTTP_WS_MESSAGE_MAX);
    if (uv_poll_init(&ws->loop->uv, &ws->poll, ws->socket.fd)) {
        wslay_event_context_free(ws->wslay);
        return false;
    }
    ws->poll.data = ws;
    ws->seen_ns = clock_monotonic_ns();
    return true;
}

void ws_drop(struct http_ws *ws)
{
    if (ws->state)
        ws->handler->close(ws->state);
    ws->socket.release(ws->socket.release_arg);
    free_outbox(ws);
    free(ws->first);
    free(ws);
}

void ws_check_silence(struct http_ws *ws, int64_t now)
{
    int64_t silence = now - ws->seen_ns;
    if ((ws->deadline_ns && now >= ws->deadline_ns) || silence >= GIVE_UP_AFTER) {
        ws_destroy(ws);
        return;
    }
    if (silence < PING_AFTER || ws->pinged || ws->lingering)
        return;
    struct wslay_event_msg ping = {WSLAY_PING, NULL, 0};
    (void)wslay_event_queue_msg(ws->wslay, &ping);
    ws->pinged = true;
    ws_pump(ws);
}
