/* One thread that watches for everybody who waits: whether the client hangs up, and
 * whether the time is up. libmicrohttpd looks at neither while a connection is
 * suspended. */
#ifndef HTTP_WAITER_H
#define HTTP_WAITER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum http_wait_end {
    HTTP_WAIT_TIME,     /* `deadline_ns` is past */
    HTTP_WAIT_GONE,     /* the client has hung up, or half of it: it will send no more */
    HTTP_WAIT_STOPPING, /* the server stops: end in good order */
    HTTP_WAIT_LAST,     /* … and soon: say so now, or not at all */
    HTTP_WAIT_CUT_OFF,  /* the server cannot wait any longer */
};

/* Part of something larger, which `fire` finds again. */
struct http_wait {
    int fd;
    int64_t deadline_ns; /* of the monotonic clock; 0: none */
    /* On the waiter's thread or in http_waiter_add, with the waiter's lock held: short,
     * and without a call into the waiter. May come more than once until it is removed,
     * but HTTP_WAIT_TIME and HTTP_WAIT_GONE once each. */
    void (*fire)(struct http_wait *wait, enum http_wait_end why);
    /* The waiter's own. */
    struct http_wait *next, *previous;
    uint32_t number;
    bool added;
};

struct http_waiter;

int http_waiter_new(struct http_waiter **out, struct err *e);
void http_waiter_free(struct http_waiter *w);

void http_waiter_add(struct http_waiter *w, struct http_wait *wait);
/* Once it has returned, `fire` is not running and will not be called. Before the
 * descriptor is closed. One that was not added does nothing. */
void http_waiter_remove(struct http_waiter *w, struct http_wait *wait);
/* Fire all that are there, and all that will come, with this. */
void http_waiter_end(struct http_waiter *w, enum http_wait_end why);

#endif
