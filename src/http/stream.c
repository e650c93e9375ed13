/* An answer that goes on: whoever has something to say appends it, libmicrohttpd's thread
 * takes it from there. While there is nothing the connection is suspended. */
#include "http/exchange.h"

#include <sys/socket.h>

#define BLOCK_BYTES  1024 /* of the library's own buffer, for clients of HTTP/1.0 */
#define FILE_BLOCK   ((size_t)32 << 10) /* the same, where much is to come */
#define PUSH_BACKLOG ((size_t)256 << 10)

struct http_stream {
    pthread_mutex_t lock;
    struct MHD_Connection *connection; /* under lock; NULL: not yet, or no more */
    int fd;                            /* under lock, of the connection */
    struct buf waiting;                /* under lock */
    size_t at;                         /* under lock: sent of it */
    bool ended, dropped, held;         /* under lock */
    bool parked;                       /* under lock: whoever clears it resumes */
    pthread_cond_t taken;              /* some of it was sent, or it is over */
    int64_t length, sent;              /* under lock; length -1: nobody knows */
    void (*closed)(void *state);
    void *state;
};

static void out_of_memory(struct http_request *r)
{
    http_response_header(&r->response, "Retry-After", "10");
    http_respond_error(&r->response, 503, "out_of_memory",
                       "the server is out of memory; try again");
}

struct http_stream *http_respond_stream(struct http_request *r, int status,
                                        const char *content_type,
                                        void (*closed)(void *state), void *state)
{
    struct http_stream *s = calloc(1, sizeof *s);
    if (!s) {
        out_of_memory(r);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->taken, NULL);
    s->length = -1;
    buf_init(&s->waiting, HTTP_STREAM_BACKLOG);
    s->closed = closed;
    s->state = state;
    r->stream = s;
    r->response.status = status;
    http_response_header(&r->response, "Content-Type", content_type);
    return s;
}

/* Unlocks. A parked connection cannot go away before it is resumed, and only the one who
 * cleared `parked` does that. */
static void unlock_and_resume(struct http_stream *s)
{
    struct MHD_Connection *resume = s->parked ? s->connection : NULL;
    s->parked = false;
    pthread_mutex_unlock(&s->lock);
    if (resume)
        MHD_resume_connection(resume);
}

/* Under the lock. The library may be waiting for a reader that does not read. */
static void drop(struct http_stream *s)
{
    s->ended = s->dropped = true;
    buf_release(&s->waiting);
    s->at = 0;
    pthread_cond_broadcast(&s->taken);
    if (s->connection)
        shutdown(s->fd, SHUT_RDWR);
}

void http_stream_send(struct http_stream *s, const void *bytes, size_t length)
{
    pthread_mutex_lock(&s->lock);
    if (!s->ended && length > 0) {
        buf_add(&s->waiting, bytes, length);
        if (buf_failed(&s->waiting))
            drop(s);
    }
    unlock_and_resume(s);
}

void http_stream_hold(struct http_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->held = true;
    pthread_mutex_unlock(&s->lock);
}

void http_stream_end(struct http_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_cond_broadcast(&s->taken);
    unlock_and_resume(s);
}

void http_stream_set_length(struct http_stream *s, int64_t length)
{
    pthread_mutex_lock(&s->lock);
    s->length = length;
    pthread_mutex_unlock(&s->lock);
}

bool http_stream_push(struct http_stream *s, const void *bytes, size_t length)
{
    pthread_mutex_lock(&s->lock);
    while (!s->ended && s->waiting.length && s->waiting.length + length > PUSH_BACKLOG)
        pthread_cond_wait(&s->taken, &s->lock);
    bool goes_on = !s->ended;
    if (goes_on && length > 0) {
        buf_add(&s->waiting, bytes, length);
        if (buf_failed(&s->waiting))
            drop(s);
    }
    unlock_and_resume(s);
    return goes_on;
}

void http_stream_break(struct http_stream *s)
{
    pthread_mutex_lock(&s->lock);
    drop(s);
    unlock_and_resume(s);
}

static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct http_stream *s = cls;
    pthread_mutex_lock(&s->lock);
    size_t left = s->waiting.length - s->at, n = left < max ? left : max;
    ssize_t result = (ssize_t)n;
    if (s->dropped) {
        result = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (n > 0) {
        memcpy(out, s->waiting.data + s->at, n);
        s->at += n;
        s->sent += (int64_t)n;
        if (s->at == s->waiting.length) {
            /* An idle reader keeps no buffer. */
            buf_release(&s->waiting);
            buf_init(&s->waiting, HTTP_STREAM_BACKLOG);
            s->at = 0;
            pthread_cond_broadcast(&s->taken);
        }
    } else if (s->ended) {
        result = s->sent < s->length ? MHD_CONTENT_READER_END_WITH_ERROR
                                     : MHD_CONTENT_READER_END_OF_STREAM;
    } else if (!s->parked) {
        s->parked = true;
        MHD_suspend_connection(s->connection);
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

static void on_wait_end(struct http_wait *wait, enum http_wait_end why)
{
    struct exchange *x =
        (struct exchange *)((char *)wait - offsetof(struct exchange, wait));
    struct http_stream *s = x->request.stream;
    pthread_mutex_lock(&s->lock);
    if (why == HTTP_WAIT_STOPPING || why == HTTP_WAIT_LAST) {
        s->ended = s->ended || why == HTTP_WAIT_LAST || !s->held;
        unlock_and_resume(s);
        return;
    }
    drop(s);
    unlock_and_resume(s);
}

struct MHD_Response *exchange_stream_response(struct exchange *x)
{
    struct http_stream *s = x->request.stream;
    pthread_mutex_lock(&s->lock);
    s->connection = x->request.connection;
    s->fd = exchange_fd(x);
    pthread_mutex_unlock(&s->lock);
    bool known = s->length >= 0;
    return MHD_create_response_from_callback(
        known ? (uint64_t)s->length : MHD_SIZE_UNKNOWN, known ? FILE_BLOCK : BLOCK_BYTES,
        read_stream, s, NULL);
}

void exchange_stream_begin(struct exchange *x)
{
    x->wait = (struct http_wait){.fd = exchange_fd(x), .fire = on_wait_end};
    http_waiter_add(x->server->waiter, &x->wait);
}

void exchange_stream_detach(struct exchange *x)
{
    struct http_stream *s = x->request.stream;
    if (!s)
        return;
    http_waiter_remove(x->server->waiter, &x->wait);
    pthread_mutex_lock(&s->lock);
    s->connection = NULL;
    s->ended = true;
    pthread_cond_broadcast(&s->taken);
    pthread_mutex_unlock(&s->lock);
}

void exchange_stream_release(struct exchange *x)
{
    struct http_stream *s = x->request.stream;
    if (!s)
        return;
    s->closed(s->state);
    buf_release(&s->waiting);
    pthread_cond_destroy(&s->taken);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
