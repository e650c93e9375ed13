#include "http/watch.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

struct http_watched {
    struct http_watched *next, *previous;
    int fd; /* borrowed */
    enum http_phase phase;
    double since_seconds;
    size_t bytes; /* of the body since then */
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
    c->since_seconds = clock_monotonic_seconds();
    c->bytes = 0;
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

/* Whether it is late; a body that keeps up begins a new span. */
static int is_late(struct http_watched *c, double now)
{
    double elapsed = now - c->since_seconds;
    if (c->phase == HTTP_PHASE_HEAD)
        return elapsed > HTTP_WATCH_HEAD_SECONDS;
    if (c->phase == HTTP_PHASE_DRAIN)
        return elapsed > HTTP_WATCH_DRAIN_SECONDS;
    if (c->phase != HTTP_PHASE_BODY || elapsed <= HTTP_WATCH_BODY_SECONDS)
        return 0;
    if (c->bytes < HTTP_WATCH_BODY_BYTES)
        return 1;
    c->since_seconds = now;
    c->bytes = 0;
    return 0;
}

size_t http_watch_sweep(struct http_watch *w, double now_seconds)
{
    size_t late = 0;
    pthread_mutex_lock(&w->lock);
    for (struct http_watched *c = w->list; c; c = c->next)
        if (is_late(c, now_seconds)) {
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
