/* Each connection has a thread, which waits here. */
#include "http/later.h"

#include "http/exchange.h"

#include <errno.h>

struct http_later {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken; /* under lock */
    int64_t timeout_ms;
    void (*resume)(struct http_request *r);
};

static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void out_of_memory(struct http_request *r)
{
    http_response_header(&r->response, "Retry-After", "10");
    http_respond_error(&r->response, 503, "out_of_memory",
                       "the server is out of memory; try again");
}

struct http_later *http_defer(struct http_request *r, int64_t timeout_ms,
                              void (*resume)(struct http_request *r))
{
    struct http_later *l = calloc(1, sizeof *l);
    if (!l) {
        out_of_memory(r);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    init_cond(&l->changed);
    l->timeout_ms = timeout_ms;
    l->resume = resume;
    r->later = l;
    return l;
}

void http_later_wake(struct http_later *l)
{
    pthread_mutex_lock(&l->lock);
    l->woken = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static void wait_for(struct http_later *l)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += l->timeout_ms / 1000;
    until.tv_nsec += l->timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&l->lock);
    int late = 0;
    while (!l->woken && late != ETIMEDOUT)
        late = l->timeout_ms < 0 ? pthread_cond_wait(&l->changed, &l->lock)
                                 : pthread_cond_timedwait(&l->changed, &l->lock, &until);
    pthread_mutex_unlock(&l->lock);
}

void later_run(struct http_request *r)
{
    struct http_later *l;
    while ((l = r->later)) {
        r->later = NULL;
        wait_for(l);
        void (*resume)(struct http_request * r) = l->resume;
        resume(r); /* whoever wakes it just now still finds it */
        pthread_cond_destroy(&l->changed);
        pthread_mutex_destroy(&l->lock);
        free(l);
    }
}

void http_request_on_end(struct http_request *r, void (*end)(struct http_request *r))
{
    r->on_end = end;
}

/* ---- streams ----------------------------------------------------------------------- */

struct http_stream {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf waiting; /* under lock */
    size_t at;          /* under lock: sent of it */
    bool ended;         /* under lock */
    void (*closed)(void *state);
    void *state;
};

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
    init_cond(&s->changed);
    buf_init(&s->waiting, HTTP_STREAM_BACKLOG);
    s->closed = closed;
    s->state = state;
    r->stream = s;
    r->response.status = status;
    http_response_header(&r->response, "Content-Type", content_type);
    return s;
}

void http_stream_send(struct http_stream *s, const void *bytes, size_t length)
{
    pthread_mutex_lock(&s->lock);
    if (!s->ended) {
        buf_add(&s->waiting, bytes, length);
        s->ended = buf_failed(&s->waiting);
    }
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void http_stream_end(struct http_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

ssize_t stream_read(void *cls, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct http_stream *s = cls;
    ssize_t n = -1; /* the end */
    pthread_mutex_lock(&s->lock);
    while (!s->ended && s->at == s->waiting.length)
        pthread_cond_wait(&s->changed, &s->lock);
    size_t left = s->waiting.length - s->at;
    if (left > 0 && !buf_failed(&s->waiting)) {
        n = (ssize_t)(left < max ? left : max);
        memcpy(out, s->waiting.data + s->at, (size_t)n);
        s->at += (size_t)n;
        if (s->at == s->waiting.length) {
            buf_reset(&s->waiting);
            s->at = 0;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

void stream_free(void *cls)
{
    struct http_stream *s = cls;
    s->closed(s->state);
    buf_release(&s->waiting);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
