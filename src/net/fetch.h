/* One HTTP request to a place that somebody else chose.
 *
 * Nothing of ours goes along: no proxy, cookie, password or referrer. Redirects are
 * followed here, each judged like the first address; every socket is judged by the guard
 * when it is made. */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "net/guard.h"

#include <stddef.h>
#include <stdint.h>

#define NET_VALIDATOR_SIZE  200
#define NET_RETRY_AFTER_MAX 86400

struct net_answer {
    long status;                        /* 0: there was none */
    int64_t length;                     /* of the body that is sent; -1: not said */
    int64_t range_start;                /* of a 206; -1: not said */
    char validator[NET_VALIDATOR_SIZE]; /* strong ETag or Last-Modified; "" */
    long retry_after_seconds;           /* 0: not said; at most a day */
};

struct net_request {
    const struct net_guard *guard; /* borrowed, as are the others */
    const char *url;
    const char *body; /* NULL: GET; else POST */
    size_t body_length;
    const char *const *headers; /* [n_headers] "Name: value" */
    size_t n_headers;
    int redirects;         /* most that are followed; 0: none */
    int64_t stall_seconds; /* without enough bytes, and for a connection */
    int64_t total_seconds; /* for all of it */
    int64_t from;          /* ask for the bytes from here on; 0: all */
    const char *validator; /* of what is here already: If-Range; NULL: unknown */
    /* The head of the last answer is here, with status 200 or 206, and the body comes. A
     * negative code ends the request. */
    int (*begin)(void *arg, const struct net_answer *answer, struct err *e);
    int (*data)(void *arg, const void *bytes, size_t length, struct err *e);
    /* Asked several times a second; a negative code ends the request. */
    int (*tick)(void *arg, struct err *e);
    void *arg;
};

/* 0 when there was an answer that is no redirect and all of it came, whatever its status:
 * a body is only handed over for 200 and 206. ERR_DENIED: the guard forbids it.
 * ERR_INVALID: a redirect leads to what is no URL of ours, or too far. ERR_NETWORK,
 * ERR_TIMEOUT: another try may do better. Or what a callback returned. */
int net_fetch(const struct net_request *r, struct net_answer *out, struct err *e);

#endif
