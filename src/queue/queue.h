/* The queue: which job is next, who has it, and a doorbell for those who wait.
 *
 * The store is the only truth; the queue carries ids and leases. A queue that loses
 * everything is refilled from the store, so nothing here needs to be durable. Embedded
 * (embedded.c), the store itself is the queue. */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "base/err.h"
#include "store/store.h"

/* A claim lapses unless it is renewed. */
#define QUEUE_LEASE_MS 15000

struct queue;

struct queue_ops {
    void (*close)(struct queue *q);
    void (*push)(struct queue *q, const char *id);
    int (*claim)(struct queue *q, const struct store_wish *wish, const char *owner,
                 struct job *out, struct err *e);
    int (*renew)(struct queue *q, const char *id, int attempt, struct err *e);
    int (*recover)(struct queue *q, bool all, int64_t *count, struct err *e);
    int (*fd)(const struct queue *q);
    void (*clear)(struct queue *q);
};

struct queue {
    const struct queue_ops *ops;
};

/* The store is borrowed and must outlive the queue. */
int queue_embedded_open(struct queue **out, struct store *s, struct err *e);

static inline void queue_close(struct queue *q)
{
    if (q)
        q->ops->close(q);
}

/* A job became pending and is committed: wake a worker. Cannot fail: a worker that hears
 * nothing finds the job at its next look. */
static inline void queue_push(struct queue *q, const char *id)
{
    q->ops->push(q, id);
}

/* The next job that is as wished (NULL: whichever), for a lease. ERR_NOT_FOUND when none
 * is due. */
static inline int queue_claim(struct queue *q, const struct store_wish *wish,
                              const char *owner, struct job *out, struct err *e)
{
    return q->ops->claim(q, wish, owner, out, e);
}

/* A lease from now on. ERR_STATE: the job is no longer ours, stop its work. */
static inline int queue_renew(struct queue *q, const char *id, int attempt, struct err *e)
{
    return q->ops->renew(q, id, attempt, e);
}

/* Put back the jobs whose lease has lapsed; `all`: whoever held them is known to be dead,
 * do not wait. */
static inline int queue_recover(struct queue *q, bool all, int64_t *count, struct err *e)
{
    return q->ops->recover(q, all, count, e);
}

/* Readable after a push; queue_clear makes it quiet again. Borrowed. */
static inline int queue_fd(const struct queue *q)
{
    return q->ops->fd(q);
}

static inline void queue_clear(struct queue *q)
{
    q->ops->clear(q);
}

#endif
