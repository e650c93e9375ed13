/* Whom to tell of a job's end, and what is still to be told. The notice is written in the
 * transaction that ends the job. */
#ifndef STORE_WEBHOOKS_H
#define STORE_WEBHOOKS_H

#include "store/store.h"

struct store_webhook {
    const char *url;    /* borrowed, as is the other */
    const char *secret; /* "": the service's own, if it has one */
    bool with_transcript;
};

/* A notice that is to be delivered. Strings are owned; store_delivery_release frees them.
 */
struct store_delivery {
    char *id;    /* names it to the receiver, the same in every attempt */
    char *event; /* "job.completed" … */
    char job_id[ID_SIZE];
    char *url, *secret;
    bool with_transcript;
    int attempts; /* this one included: fences what follows */
    int64_t created_ms;
};
void store_delivery_release(struct store_delivery *d);

/* How an attempt ended. */
struct store_delivery_end {
    const char *state; /* "waiting": again at next_ms; "delivered", "failed" */
    int64_t now_ms, next_ms;
    int http_status;   /* 0: there was no answer */
    const char *error; /* borrowed; "" when it was delivered */
};

/* What became of the last notice of a job. Strings are owned. */
struct store_webhook_state {
    char *url;
    char *state; /* "none": the job has not ended; else as above */
    char *error;
    int attempts, http_status;
    int64_t last_ms, next_ms; /* 0: never */
};
void store_webhook_state_release(struct store_webhook_state *s);

struct store_webhooks_ops {
    int (*put)(struct store *s, const char *job_id, const struct store_webhook *hook,
               struct err *e);
    int (*drop)(struct store *s, const char *job_id, struct err *e);
    int (*claim)(struct store *s, int64_t now_ms, int64_t lease_ms,
                 struct store_delivery *out, struct err *e);
    int (*end)(struct store *s, const struct store_delivery *d,
               const struct store_delivery_end *how, struct err *e);
    int (*next)(struct store *s, int64_t *next_ms, struct err *e);
    int (*state)(struct store *s, const char *job_id, struct store_webhook_state *out,
                 struct err *e);
    int (*recover)(struct store *s, struct err *e);
};

/* Before the row of the job. */
static inline int store_webhook_put(struct store *s, const char *job_id,
                                    const struct store_webhook *hook, struct err *e)
{
    return s->ops->webhooks->put(s, job_id, hook, e);
}

/* The job did not come about. Does nothing when it did. */
static inline int store_webhook_drop(struct store *s, const char *job_id, struct err *e)
{
    return s->ops->webhooks->drop(s, job_id, e);
}

/* Take one that is due, until lease_ms. ERR_NOT_FOUND when none is. */
static inline int store_webhook_claim(struct store *s, int64_t now_ms, int64_t lease_ms,
                                      struct store_delivery *out, struct err *e)
{
    return s->ops->webhooks->claim(s, now_ms, lease_ms, out, e);
}

/* ERR_STATE when it is no longer this attempt's. */
static inline int store_webhook_end(struct store *s, const struct store_delivery *d,
                                    const struct store_delivery_end *how, struct err *e)
{
    return s->ops->webhooks->end(s, d, how, e);
}

/* When the next one is due; INT64_MAX: none waits. */
static inline int store_webhook_next(struct store *s, int64_t *next_ms, struct err *e)
{
    return s->ops->webhooks->next(s, next_ms, e);
}

/* ERR_NOT_FOUND for a job that has no webhook. */
static inline int store_webhook_state(struct store *s, const char *job_id,
                                      struct store_webhook_state *out, struct err *e)
{
    return s->ops->webhooks->state(s, job_id, out, e);
}

/* Whoever claimed any is dead; rows of jobs that never came about go. */
static inline int store_webhook_recover(struct store *s, struct err *e)
{
    return s->ops->webhooks->recover(s, e);
}

#endif
