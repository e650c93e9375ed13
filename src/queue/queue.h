/* The queue: which job is next, who has it, and a doorbell for those who wait.
 *
 * The store is the only truth; the queue carries ids and leases. A queue that loses
 * everything is refilled from the store, so nothing here needs to be durable. Embedded
 * (embedded.c), the store itself is the queue; on Redis (redis.c) several machines share
 * one.
 *
 * A job is claimed in two steps. The first asks the queue which one, and may wait for a
 * server; the second claims that one in the store, which has the last word. */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "base/err.h"
#include "store/store.h"

/* A claim lapses unless it is renewed. */
#define QUEUE_LEASE_MS 15000

/* A larger recording is no company for others in one worker: it would take as much memory
 * as they. What a wish asks for is not larger. */
#define QUEUE_BESIDE_BYTES (INT64_C(8) << 20)

struct queue;

/* The answer to "which one?". */
struct queue_ticket {
    char id[ID_SIZE]; /* "": the store is to choose */
    int attempt;      /* the last one of that job, as far as the queue knows */
};

/* How a job has ended. */
struct queue_end {
    double seconds; /* of audio; 0: unknown */
    bool dead;      /* its worker died of it, and it is not tried again */
};

/* How often somebody may come: `count` times in `seconds`, evenly or all at once. */
struct queue_rate {
    const char *name; /* borrowed: of whoever it is; no blanks */
    int64_t count, seconds;
};
struct queue_allowance {
    bool allowed;
    int64_t reset_us; /* until the allowance is whole again */
    int64_t wait_us;  /* until one more may come; 0 when this one may */
};

/* How the queue's server is. */
struct queue_health {
    bool up;                        /* jobs are handed out by it; else by the store */
    double answer_seconds;          /* of the last time that it was asked; 0: not yet */
    int64_t used_bytes, most_bytes; /* its memory; most 0: as much as there is */
    int64_t errands;                /* that it is still to be told */
};

struct queue_ops {
    void (*close)(struct queue *q);
    void (*push)(struct queue *q, const char *id);
    int (*next)(struct queue *q, const struct store_wish *wish, struct queue_ticket *out,
                struct err *e);
    int (*take)(struct queue *q, const struct queue_ticket *ticket,
                const struct store_wish *wish, const char *owner, struct job *out,
                struct err *e);
    int (*renew)(struct queue *q, const char *id, int attempt, struct err *e);
    void (*over)(struct queue *q, const char *id, const struct queue_end *end);
    int (*recover)(struct queue *q, bool all, int64_t *count, struct err *e);
    int (*allow)(struct queue *q, const struct queue_rate *rate,
                 struct queue_allowance *out);
    bool (*wakes_one)(const struct queue *q);
    int (*fd)(const struct queue *q);
    void (*clear)(struct queue *q);
    bool (*health)(struct queue *q, struct queue_health *out);
};

struct queue {
    const struct queue_ops *ops;
};

/* The store is borrowed and must outlive the queue. */
int queue_embedded_open(struct queue **out, struct store *s, struct err *e);

/* How long to wait before something is tried again that has failed `times` times: twice
 * as long each time, at most `most_ms`, less up to a half by chance, so that those who
 * failed together do not come back together. */
int64_t queue_backoff_ms(int times, int64_t first_ms, int64_t most_ms);

static inline void queue_close(struct queue *q)
{
    if (q)
        q->ops->close(q);
}

/* A job became pending and is committed: wake a worker. Cannot fail and does not wait: a
 * worker that hears nothing finds the job at its next look. */
static inline void queue_push(struct queue *q, const char *id)
{
    q->ops->push(q, id);
}

/* Which job that is as wished (NULL: whichever) is next. ERR_NOT_FOUND when none is due.
 * May take a second where the queue is on another machine: hold no lock. A ticket that is
 * not taken lapses. */
static inline int queue_next(struct queue *q, const struct store_wish *wish,
                             struct queue_ticket *out, struct err *e)
{
    return q->ops->next(q, wish, out, e);
}

/* Claim that job for a lease; the wish is that of queue_next. ERR_NOT_FOUND when none is
 * due; ERR_STATE when that one could not be had: ask for the next. */
static inline int queue_take(struct queue *q, const struct queue_ticket *ticket,
                             const struct store_wish *wish, const char *owner,
                             struct job *out, struct err *e)
{
    return q->ops->take(q, ticket, wish, owner, out, e);
}

/* A lease from now on. ERR_STATE: the job is no longer ours, stop its work. */
static inline int queue_renew(struct queue *q, const char *id, int attempt, struct err *e)
{
    return q->ops->renew(q, id, attempt, e);
}

/* A job has ended, in whatever way, or is deleted: the queue forgets it. Cannot fail and
 * does not wait, as queue_push. */
static inline void queue_over(struct queue *q, const char *id,
                              const struct queue_end *end)
{
    q->ops->over(q, id, end);
}

/* Put back the jobs whose lease has lapsed; `all`: whoever held them is known to be dead,
 * do not wait. */
static inline int queue_recover(struct queue *q, bool all, int64_t *count, struct err *e)
{
    return q->ops->recover(q, all, count, e);
}

/* Count one more of somebody, together with all processes that share the queue.
 * ERR_UNSUPPORTED where nobody shares it, ERR_NETWORK when its server does not say so at
 * once: then each counts for itself. */
static inline int queue_allow(struct queue *q, const struct queue_rate *rate,
                              struct queue_allowance *out)
{
    return q->ops->allow(q, rate, out);
}

/* Whether a push wakes one process that can do the job, wherever it is, and that one
 * alone; else all that hear of it look. */
static inline bool queue_wakes_one(const struct queue *q)
{
    return q->ops->wakes_one(q);
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

/* Does not wait: what is asked for is found out for the next time. False: the queue has
 * no server of its own. */
static inline bool queue_health(struct queue *q, struct queue_health *out)
{
    return q->ops->health(q, out);
}

#endif
