/* What was asked and what was answered, counted for a monitor.
 *
 * By route, as it stands in the table, and never by path: what callers make up must not
 * become names that are kept. */
#ifndef HTTP_TALLY_H
#define HTTP_TALLY_H

#include "http/server.h"

#define HTTP_TALLY_STATUSES 24
#define HTTP_TALLY_ERRORS   96
#define HTTP_TALLY_BOUNDS   10

/* Upper bounds of the times, in seconds: from a look at the database to an upload. */
extern const double http_tally_bounds[HTTP_TALLY_BOUNDS];

struct http_tally_route {
    const char *method, *pattern; /* borrowed, static */
    struct {
        int status; /* 0: the client had gone before there was an answer */
        uint64_t count;
    } answers[HTTP_TALLY_STATUSES]; /* [n_answers] */
    size_t n_answers;
    uint64_t times[HTTP_TALLY_BOUNDS + 1]; /* of each bucket alone; the last: longer */
    uint64_t count;
    double seconds;
    uint64_t bytes_in, bytes_out; /* of bodies */
    int64_t open;                 /* begun and not ended */
};

struct http_tally_error {
    char code[40]; /* the error_code of an answer */
    uint64_t count;
};

/* All of it at one moment. */
struct http_figures {
    struct http_tally_route *routes; /* owned [n_routes]; the last: of no route */
    size_t n_routes;
    struct http_tally_error errors[HTTP_TALLY_ERRORS];
    size_t n_errors;
    uint64_t turned_away; /* connections: their client had too many */
    int64_t connections;  /* open */
    int64_t busy, line;   /* threads that handle requests, requests that wait for one */
};
void http_figures_release(struct http_figures *f);

/* Those of the server that has this request. ERR_NOMEM. */
int http_request_figures(const struct http_request *r, struct http_figures *out,
                         struct err *e);

/* ---- for this layer only ---- */
struct http_tally;
/* The routes are borrowed and outlive it; NULL: out of memory. */
struct http_tally *http_tally_new(const struct http_route *routes, size_t n_routes);
void http_tally_free(struct http_tally *t);

/* `route` NULL: the path is none of ours. Each end has had its beginning. */
void http_tally_begin(struct http_tally *t, const struct http_route *route);

struct http_tally_end {
    const struct http_route *route;
    bool begun;
    int status;             /* 0: none was sent */
    const char *error_code; /* "": no error */
    double seconds;
    uint64_t bytes_in, bytes_out;
};
void http_tally_end(struct http_tally *t, const struct http_tally_end *end);
void http_tally_turned_away(struct http_tally *t);

#endif
