/* Jobs whose recording is still to be fetched from an address. Such a job is pending and
 * not claimed by a worker before its source is done. */
#ifndef STORE_SOURCES_H
#define STORE_SOURCES_H

#include "store/store.h"

/* Strings are owned; store_source_release frees them. */
struct store_source {
    char job_id[ID_SIZE];
    char *url;
    char *validator;  /* of what was received; "" when the server gave none */
    int64_t received; /* bytes that are durable in the part */
    char *state;      /* how to find those: see blob_sitting; NULL: none */
    int attempts;     /* this one included: fences what follows */
};
void store_source_release(struct store_source *s);

struct store_sources_ops {
    int (*put)(struct store *s, const char *job_id, const char *url, struct err *e);
    int (*drop)(struct store *s, const char *job_id, struct err *e);
    int (*claim)(struct store *s, int64_t now_ms, int64_t lease_ms,
                 struct store_source *out, struct err *e);
    int (*renew)(struct store *s, const struct store_source *src, int64_t lease_ms,
                 const char *message, struct err *e);
    int (*pause)(struct store *s, const struct store_source *src, bool counts,
                 int64_t next_ms, const char *message, struct err *e);
    int (*done)(struct store *s, const struct store_source *src, int64_t bytes,
                const char *sha256, int64_t now_ms, struct err *e);
    int (*give_up)(struct store *s, const struct store_source *src, int64_t now_ms,
                   const char *code, const char *message, struct err *e);
    int (*reset)(struct store *s, const struct store_source *src, struct err *e);
    int (*recover)(struct store *s, struct err *e);
};

/* Before the row of the job. */
static inline int store_source_put(struct store *s, const char *job_id, const char *url,
                                   struct err *e)
{
    return s->ops->sources->put(s, job_id, url, e);
}

/* The job did not come about. Does nothing when it did. */
static inline int store_source_drop(struct store *s, const char *job_id, struct err *e)
{
    return s->ops->sources->drop(s, job_id, e);
}

/* Take one that is due, of a pending job. ERR_NOT_FOUND when none is. Its state is handed
 * over and not kept: whoever comes after one that did not pause begins anew, for that one
 * may write still. */
static inline int store_source_claim(struct store *s, int64_t now_ms, int64_t lease_ms,
                                     struct store_source *out, struct err *e)
{
    return s->ops->sources->claim(s, now_ms, lease_ms, out, e);
}

/* Still at it, and what to tell people. ERR_STATE when the job was cancelled or deleted,
 * as with those that follow. */
static inline int store_source_renew(struct store *s, const struct store_source *src,
                                     int64_t lease_ms, const char *message, struct err *e)
{
    return s->ops->sources->renew(s, src, lease_ms, message, e);
}

/* Again at next_ms; src->received, src->validator and src->state are kept. Unless it
 * `counts`, this attempt never was: it was we who broke it off. */
static inline int store_source_pause(struct store *s, const struct store_source *src,
                                     bool counts, int64_t next_ms, const char *message,
                                     struct err *e)
{
    return s->ops->sources->pause(s, src, counts, next_ms, message, e);
}

/* The recording is in the storage: workers may have the job. The address, in which there
 * may be a secret, is forgotten. ERR_QUOTA, and nothing has changed: what the caller's
 * key has for the day is used up by now. */
static inline int store_source_done(struct store *s, const struct store_source *src,
                                    int64_t bytes, const char *sha256, int64_t now_ms,
                                    struct err *e)
{
    return s->ops->sources->done(s, src, bytes, sha256, now_ms, e);
}

/* The job fails. When it is tried again, the source is fetched anew. */
static inline int store_source_fail(struct store *s, const struct store_source *src,
                                    int64_t now_ms, const char *code, const char *message,
                                    struct err *e)
{
    return s->ops->sources->give_up(s, src, now_ms, code, message, e);
}

/* The job was cancelled, and what had come is thrown away: should it be tried again, the
 * source is fetched anew. Does nothing when this is no longer the last attempt. */
static inline int store_source_reset(struct store *s, const struct store_source *src,
                                     struct err *e)
{
    return s->ops->sources->reset(s, src, e);
}

/* Whoever claimed any is dead; rows of jobs that never came about go. */
static inline int store_source_recover(struct store *s, struct err *e)
{
    return s->ops->sources->recover(s, e);
}

#endif
