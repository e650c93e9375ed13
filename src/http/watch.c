#include "http/watch.h"

#include "base/clock.h"

#include <linux/sockios.h>
#include <linux/tcp.h> /* the C library's own knows no acknowledged bytes */
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct http_watched {
    struct http_watched *next, *previous;
    int fd; /* borrowed */
    enum http_phase phase;
    bool fresh; /* no request has come on it yet */
    double since_seconds;
    size_t bytes;   /* of the body since then */
    bool behind;    /* the reader of an answer, at every look since then */
    uint64_t taken; /* what it had acknowledged then */
};

struct http_watch {
    pthread_mutex_t lock;
    struct http_watched *list;
};

struct http_watch *http_watch_new(void)
{
    struct http_watch *w = calloc(1, sizeof *w);
    if (w)
        pthread_mutex_init(&w->lock, NULL);
    return w;
}

void http_watch_free(struct http_watch *w)
{
    if (!w)
        return;
    while (w->list) {
        struct http_watched *c = w->list;
        w->list = c->next;
        free(c);
    }
    pthread_mutex_destroy(&w->lock);
    free(w);
}

struct http_watched *http_watch_add(struct http_watch *w, int fd)
{
    struct http_watched *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->fd = fd;
    c->phase = HTTP_PHASE_HEAD;
    c->fresh = true;
    c->since_seconds = clock_monotonic_seconds();
    pthread_mutex_lock(&w->lock);
    c->next = w->list;
    if (c->next)
        c->next->previous = c;
    w->list = c;
    pthread_mutex_unlock(&w->lock);
    return c;
}

void http_watch_remove(struct http_watch *w, struct http_watched *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&w->lock);
    if (c->previous)
        c->previous->next = c->next;
    else
        w->list = c->next;
    if (c->next)
        c->next->previous = c->previous;
    pthread_mutex_unlock(&w->lock);
    free(c);
}

void http_watch_phase(struct http_watch *w, struct http_watched *c, enum http_phase phase)
{
    if (!c)
        return;
    pthread_mutex_lock(&w->lock);
    c->phase = phase;
    c->fresh = false;
    c->since_seconds = clock_monotonic_seconds();
    c->bytes = 0;
    c->behind = false;
    pthread_mutex_unlock(&w->lock);
}

void http_watch_bytes(struct http_watch *w, struct http_watched *c, size_t bytes)
{
    if (!c)
        return;
    pthread_mutex_lock(&w->lock);
    c->bytes += bytes;
    pthread_mutex_unlock(&w->lock);
}

/* What the other side has acknowledged of all that was sent; false when it has all of it,
 * or when nothing is known. */
static bool has_backlog(const struct http_watched *c, uint64_t *acknowledged)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    int queued = 0;
    if (ioctl(c->fd, SIOCOUTQ, &queued) || queued <= 0 ||
        getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &size))
        return false;
    *acknowledged = info.tcpi_bytes_acked;
    return true;
}

/* Who has read all, or enough, begins a new span. */
static bool reads_slowly(struct http_watched *c, double now)
{
    uint64_t acknowledged = 0;
    if (!has_backlog(c, &acknowledged)) {
        c->behind = false;
        return false;
    }
    if (!c->behind || acknowledged - c->taken >= HTTP_WATCH_ANSWER_BYTES) {
        c->behind = true;
        c->taken = acknowledged;
        c->since_seconds = now;
        return false;
    }
    return now - c->since_seconds > HTTP_WATCH_ANSWER_SECONDS;
}

/* Whether it is late; a body that keeps up begins a new span. */
static bool is_late(struct http_watched *c, double now)
{
    double elapsed = now - c->since_seconds;
    if (c->phase == HTTP_PHASE_HEAD)
        return elapsed > HTTP_WATCH_HEAD_SECONDS;
    if (c->phase == HTTP_PHASE_DRAIN)
        return elapsed > HTTP_WATCH_DRAIN_SECONDS;
    if (c->phase == HTTP_PHASE_ANSWER)
        return reads_slowly(c, now);
    if (c->phase != HTTP_PHASE_BODY || elapsed <= HTTP_WATCH_BODY_SECONDS)
        return false;
    if (c->bytes < HTTP_WATCH_BODY_BYTES)
        return true;
    c->since_seconds = now;
    c->bytes = 0;
    return false;
}

void http_watch_abandon(int fd)
{
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

size_t http_watch_sweep(struct http_watch *w, double now_seconds)
{
    size_t late = 0;
    pthread_mutex_lock(&w->lock);
    for (struct http_watched *c = w->list; c; c = c->next)
        if (is_late(c, now_seconds)) {
            if (c->phase == HTTP_PHASE_ANSWER)
                http_watch_abandon(c->fd);
            /* The library sees the end and closes it. */
            shutdown(c->fd, SHUT_RDWR);
            late += c->phase != HTTP_PHASE_DRAIN; /* that one has been told already */
            c->phase = HTTP_PHASE_WORK;
        }
    pthread_mutex_unlock(&w->lock);
    return late;
}

void http_watch_cut_off(struct http_watch *w)
{
    pthread_mutex_lock(&w->lock);
    for (struct http_watched *c = w->list; c; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&w->lock);
}

bool http_watch_fresh(struct http_watch *w, double since_seconds, bool kept)
{
    bool any = false;
    pthread_mutex_lock(&w->lock);
    for (struct http_watched *c = w->list; c && !any; c = c->next)
        any = (c->fresh || (kept && c->phase == HTTP_PHASE_HEAD)) &&
              c->since_seconds > since_seconds;
    pthread_mutex_unlock(&w->lock);
    return any;
}
