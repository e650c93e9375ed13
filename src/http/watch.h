/* Deadlines for connections that dawdle.
 *
 * libmicrohttpd ends a connection that is silent, but one byte every few seconds is not
 * silence: a head may take HEAD_SECONDS in all, and a body must keep up a minimum rate.
 * So must who reads an answer, for as long as there is something to read: what counts is
 * what the other side has acknowledged, for our own buffers would hide the difference. A
 * stream that has nothing to say has no slow reader. Thread-safe. */
#ifndef HTTP_WATCH_H
#define HTTP_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_WATCH_HEAD_SECONDS   30    /* from the connection, or the last answer, on */
#define HTTP_WATCH_BODY_SECONDS   60    /* in each such span … */
#define HTTP_WATCH_BODY_BYTES     8192  /* … at least so many bytes of a body come */
#define HTTP_WATCH_ANSWER_SECONDS 60    /* in each such span with something to read … */
#define HTTP_WATCH_ANSWER_BYTES   65536 /* … at least so many bytes are taken */
#define HTTP_WATCH_DRAIN_SECONDS  2     /* for what a refused client still sends */

enum http_phase {
    HTTP_PHASE_HEAD,  /* waiting for a request's head */
    HTTP_PHASE_BODY,  /* reading its body */
    HTTP_PHASE_DRAIN, /* refused: dropping what still comes */
    HTTP_PHASE_WORK,  /* ours to answer, or upgraded: no deadline */
    HTTP_PHASE_ANSWER /* it is theirs to read what we send */
};

struct http_watch;
struct http_watched;

struct http_watch *http_watch_new(void); /* NULL: out of memory */
void http_watch_free(struct http_watch *w);

/* A connection opened; NULL when memory is out, which the others accept. */
struct http_watched *http_watch_add(struct http_watch *w, int fd);
/* Must come before the descriptor is closed. */
void http_watch_remove(struct http_watch *w, struct http_watched *c);
void http_watch_phase(struct http_watch *w, struct http_watched *c,
                      enum http_phase phase);
void http_watch_bytes(struct http_watch *w, struct http_watched *c, size_t bytes);

/* A connection that will be closed with its reader behind: the kernel is not to go on
 * delivering what is queued, which it would for ever. */
void http_watch_abandon(int fd);

/* Shut down every connection that is past its deadline; call it about once a second.
 * Returns how many. */
size_t http_watch_sweep(struct http_watch *w, double now_seconds);
/* Whether any has opened since then and not asked for anything yet; with `kept` also one
 * that has been answered since then, and may ask again. */
bool http_watch_fresh(struct http_watch *w, double since_seconds, bool kept);
/* Shut down all of them. */
void http_watch_cut_off(struct http_watch *w);

#endif
