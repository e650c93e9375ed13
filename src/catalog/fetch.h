/* One file over HTTP, into a file that is already open: resumed, retried, limited.
 *
 * A file "x.part" has a companion "x.part.from" that holds the URL its bytes came from
 * and the server's validator (ETag or Last-Modified). While both fit, the download goes
 * on where it stopped (RFC 9110, Range and If-Range). */
#ifndef CATALOG_FETCH_H
#define CATALOG_FETCH_H

#include "base/buf.h"
#include "base/err.h"
#include "catalog/catalog.h"

struct fetch {
    const char *url;         /* borrowed; http or https */
    const char *path;        /* borrowed: of the .part */
    int fd;                  /* borrowed: the .part, open for reading and writing */
    uint64_t expected;       /* bytes that it must have; 0: not known */
    uint64_t maximum;        /* more are refused */
    int64_t timeout_seconds; /* without a byte */
    const struct pull_callbacks *callbacks; /* borrowed, never NULL */
    bool resumed;                           /* out: some bytes are of an earlier call */
};

/* ERR_NETWORK, ERR_TIMEOUT, ERR_NOT_FOUND (the server says so), ERR_CORRUPT (it offers
 * something else) and ERR_TOO_LARGE speak of the server: another may do better. All other
 * errors speak of this machine, or ERR_CANCELLED. */
int fetch_file(struct fetch *f, struct err *e);
bool fetch_is_servers_fault(int status);

/* Empty the file and forget where its bytes came from. */
int fetch_discard(int fd, const char *path, struct err *e);

/* A small document into `out`, whose maximum is the limit. */
int fetch_text(const char *url, struct buf *out, int64_t timeout_seconds,
               const struct pull_callbacks *callbacks, struct err *e);

/* The host of a URL, for people; it never shows a password. Returns `out`. */
const char *fetch_host(const char *url, char *out, size_t size);

#endif
