/* A deferred request is parked, and stands in the waiter's list and in whatever list its
 * handler put it; nobody's thread waits for it. */
#include "http/later.h"

#include "base/clock.h"
#include "http/exchange.h"

static struct exchange *exchange_of(struct http_request *r)
{
    return (struct exchange *)((char *)r - offsetof(struct exchange, request));
}

struct http_later *http_defer(struct http_request *r, int64_t timeout_ms,
                              void (*resume)(struct http_request *r))
{
    struct exchange *x = exchange_of(r);
    x->later =
        (struct http_later){.exchange = x, .resume = resume, .timeout_ms = timeout_ms};
    r->later = &x->later;
    return r->later;
}

/* The part of the pool: `resume`, and whatever it defers again. */
static void run_later(struct exchange *x)
{
    if (exchange_later(x))
        exchange_go(x);
}

static void wake(struct http_later *l, enum http_wait_end why)
{
    struct exchange *x = l->exchange;
    pthread_mutex_lock(&x->server->lock);
    bool run = l->waiting && !l->woken;
    if (!l->woken)
        l->why = why;
    l->woken = true;
    pthread_mutex_unlock(&x->server->lock);
    if (run)
        exchange_work(x, run_later);
}

void http_later_wake(struct http_later *l)
{
    wake(l, HTTP_WAIT_TIME);
}

static void on_wait_end(struct http_wait *wait, enum http_wait_end why)
{
    struct exchange *x =
        (struct exchange *)((char *)wait - offsetof(struct exchange, wait));
    /* While the server only stops, the answer may still come in time; and who waits on
     * after the last call knows what it does. */
    bool ignored =
        why == HTTP_WAIT_STOPPING || (why == HTTP_WAIT_LAST && x->request.stopping);
    if (!ignored)
        wake(&x->later, why);
}

/* From here on it may be woken by anybody. False: it was already. */
static bool begin_waiting(struct exchange *x)
{
    struct http_later *l = &x->later;
    /* Who goes is seen once; a handler that waits nevertheless waits for its own sake. */
    x->wait = (struct http_wait){.fd = x->request.gone ? -1 : exchange_fd(x),
                                 .fire = on_wait_end};
    if (l->timeout_ms >= 0)
        x->wait.deadline_ns = clock_monotonic_ns() + l->timeout_ms * 1000000 + 1;
    http_waiter_add(x->server->waiter, &x->wait);
    pthread_mutex_lock(&x->server->lock);
    bool woken = l->woken;
    l->waiting = !woken;
    pthread_mutex_unlock(&x->server->lock);
    return !woken;
}

bool exchange_later(struct exchange *x)
{
    struct http_request *r = &x->request;
    bool cut_off = false;
    while (r->later && !cut_off) {
        /* Woken by the pool's task, it comes back here with `waiting` set. */
        if (!x->later.waiting && begin_waiting(x))
            return false;
        http_waiter_remove(x->server->waiter, &x->wait);
        r->later = NULL;
        cut_off = x->later.why == HTTP_WAIT_CUT_OFF;
        r->gone = r->gone || cut_off || x->later.why == HTTP_WAIT_GONE;
        r->stopping = r->stopping || x->later.why == HTTP_WAIT_LAST;
        x->later.waiting = false;
        x->later.resume(r);
    }
    if (r->gone)
        x->stage = EXCHANGE_DROP;
    return true;
}

void http_request_on_end(struct http_request *r, void (*end)(struct http_request *r))
{
    r->on_end = end;
}
