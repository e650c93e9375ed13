#include "http/waiter.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS 64
#define TICK   INT64_C(10000000) /* ns: deadlines are this coarse */

struct http_waiter {
    int epoll, wake;
    pthread_t thread;
    pthread_mutex_t lock;
    /* All under lock. */
    struct http_wait *list;
    struct http_wait **by_fd; /* owned [capacity]; an event is checked against it */
    size_t capacity;
    uint32_t numbers;
    int64_t next_ns; /* nothing is due before; 0: nothing at all */
    bool ending, stopping;
    enum http_wait_end end;
};

static void wake(struct http_waiter *w)
{
    uint64_t one = 1;
    ssize_t written = write(w->wake, &one, sizeof one);
    (void)written; /* a full counter wakes, too */
}

/* An event may be about a descriptor that meanwhile is another connection's: the number
 * tells. */
static void fire_event(struct http_waiter *w, uint64_t data)
{
    size_t fd = (size_t)(data >> 32);
    struct http_wait *wait = fd < w->capacity ? w->by_fd[fd] : NULL;
    if (wait && wait->number == (uint32_t)data)
        wait->fire(wait, HTTP_WAIT_GONE);
}

static void fire_due(struct http_waiter *w, int64_t now_ns)
{
    if (!w->next_ns || now_ns < w->next_ns)
        return;
    int64_t next = 0;
    for (struct http_wait *wait = w->list; wait; wait = wait->next) {
        if (wait->deadline_ns && wait->deadline_ns <= now_ns) {
            wait->deadline_ns = 0;
            wait->fire(wait, HTTP_WAIT_TIME);
        }
        if (wait->deadline_ns && (!next || wait->deadline_ns < next))
            next = wait->deadline_ns;
    }
    /* Many deadlines close together are one pass through the list. */
    w->next_ns = next && next < now_ns + TICK ? now_ns + TICK : next;
}

static int timeout_ms(const struct http_waiter *w, int64_t now_ns)
{
    if (!w->next_ns)
        return -1;
    int64_t left = w->next_ns - now_ns;
    return left <= 0                           ? 0
           : left > INT64_C(3600) * 1000000000 ? 3600000
                                               : (int)(left / 1000000 + 1);
}

static void *run(void *arg)
{
    struct http_waiter *w = arg;
    struct epoll_event events[EVENTS];
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        int ms = timeout_ms(w, clock_monotonic_ns());
        pthread_mutex_unlock(&w->lock);
        int n = epoll_wait(w->epoll, events, EVENTS, ms);
        pthread_mutex_lock(&w->lock);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 != UINT64_MAX) {
                fire_event(w, events[i].data.u64);
                continue;
            }
            uint64_t count;
            ssize_t got = read(w->wake, &count, sizeof count);
            (void)got;
        }
        fire_due(w, clock_monotonic_ns());
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int http_waiter_new(struct http_waiter **out, struct err *e)
{
    struct http_waiter *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&w->lock, NULL);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    int failed = w->epoll < 0 || w->wake < 0 ||
                 epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &event);
    int status = failed ? err_errno(e, "cannot watch connections") : 0;
    if (!status && pthread_create(&w->thread, NULL, run, w))
        status = err_set(e, ERR_NOMEM, "cannot start a thread: too many are running");
    if (status) {
        w->stopping = true;
        http_waiter_free(w);
        return status;
    }
    *out = w;
    return 0;
}

void http_waiter_free(struct http_waiter *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    bool runs = !w->stopping; /* else it never did */
    w->stopping = true;
    pthread_mutex_unlock(&w->lock);
    if (runs) {
        wake(w);
        pthread_join(w->thread, NULL);
    }
    if (w->epoll >= 0)
        close(w->epoll);
    if (w->wake >= 0)
        close(w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->by_fd);
    free(w);
}

static void watch_fd(struct http_waiter *w, struct http_wait *wait)
{
    size_t fd = (size_t)wait->fd, old = w->capacity;
    if (wait->fd < 0 || mem_grow(&w->by_fd, &w->capacity, fd + 1, sizeof *w->by_fd))
        return; /* unwatched: the time, or a write that fails, will tell */
    for (size_t i = old; i < w->capacity; i++)
        w->by_fd[i] = NULL;
    w->by_fd[fd] = wait;
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT,
                                .data.u64 = (uint64_t)fd << 32 | wait->number};
    (void)epoll_ctl(w->epoll, EPOLL_CTL_ADD, wait->fd, &event);
}

void http_waiter_add(struct http_waiter *w, struct http_wait *wait)
{
    pthread_mutex_lock(&w->lock);
    wait->added = true;
    /* Below the largest, so that no event looks like the one that wakes. */
    w->numbers = (w->numbers + 1) % UINT32_MAX;
    wait->number = w->numbers;
    wait->previous = NULL;
    wait->next = w->list;
    if (w->list)
        w->list->previous = wait;
    w->list = wait;
    watch_fd(w, wait);
    bool sooner = wait->deadline_ns && (!w->next_ns || wait->deadline_ns < w->next_ns);
    if (sooner)
        w->next_ns = wait->deadline_ns;
    if (w->ending)
        wait->fire(wait, w->end);
    pthread_mutex_unlock(&w->lock);
    if (sooner)
        wake(w);
}

void http_waiter_remove(struct http_waiter *w, struct http_wait *wait)
{
    if (!wait->added)
        return;
    pthread_mutex_lock(&w->lock);
    wait->added = false;
    if (wait->previous)
        wait->previous->next = wait->next;
    else
        w->list = wait->next;
    if (wait->next)
        wait->next->previous = wait->previous;
    if (wait->fd >= 0 && (size_t)wait->fd < w->capacity && w->by_fd[wait->fd] == wait) {
        w->by_fd[wait->fd] = NULL;
        (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, wait->fd, NULL);
    }
    pthread_mutex_unlock(&w->lock);
}

void http_waiter_end(struct http_waiter *w, enum http_wait_end why)
{
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    w->end = why;
    for (struct http_wait *wait = w->list; wait; wait = wait->next)
        wait->fire(wait, why);
    pthread_mutex_unlock(&w->lock);
}
