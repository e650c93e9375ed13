/* What the parts of the queue on Redis share. Private.
 *
 * Three threads of it, each with a connection of its own: the hand runs errands (what
 * became pending, what is being worked on, what has ended) and fills the queue from the
 * store; the ear waits for the bell; and whoever claims brings his own thread. Nobody
 * else ever waits for the server. */
#ifndef QUEUE_REDIS_QUEUE_H
#define QUEUE_REDIS_QUEUE_H

#include "queue/queue.h"
#include "queue/redis_address.h"
#include "queue/redis_scripts.h"
#include "store/waiting.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define REDIS_PREFIX_SIZE     96
#define REDIS_BACKOFF_MS      100
#define REDIS_BACKOFF_MOST_MS 5000

enum errand_kind {
    ERRAND_PUSH,    /* it is pending */
    ERRAND_KEEP,    /* it is being worked on */
    ERRAND_OVER,    /* it has ended */
    ERRAND_DEAD,    /* so that it is kept in memory */
    ERRAND_REFUSED, /* the store did not grant it */
};

struct errand {
    enum errand_kind kind;
    char id[ID_SIZE];
    int attempt;    /* ERRAND_REFUSED: which one was not granted */
    double seconds; /* ERRAND_OVER */
};

struct redis_queue {
    struct queue base;
    struct store *store; /* borrowed */
    struct redis_address address;
    char prefix[REDIS_PREFIX_SIZE];
    char token[ID_SIZE]; /* by which this process is called to a job */
    bool refused_told;   /* the hand's: that it is not let in */
    int bell, ear_bell; /* owned eventfds; the second wakes the ear: it is to look anew */
    pthread_t hand, ear;
    bool hand_runs, ear_runs;
    atomic_bool closing;
    atomic_bool measure; /* somebody wants to know how the server is */

    /* The link that claims go through. It is there as long as Redis holds all that waits,
     * as far as anybody knows: that is what `up` means. */
    pthread_mutex_t claim_lock;
    struct redis_link *claim_link; /* owned; NULL: away */
    atomic_bool up;

    pthread_mutex_t allow_lock;
    struct redis_link *allow_link; /* owned; NULL: each process counts for itself */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t news;
    struct errand *errands; /* owned [n_errands] */
    size_t n_errands, errands_capacity;
    bool look;                  /* compare with the store at once */
    struct queue_health health; /* but `up` and `errands` */

    /* the hand's own */
    struct redis_link *link;
    int failures;
    int64_t refill_at_ns, allow_at_ns;
    size_t dead_at;    /* where the look at the dead goes on */
    bool store_failed; /* in the last look: Redis is not to blame */
};

/* Wake whoever waits at this process's doorbell. */
void redis_ring(struct redis_queue *q);
/* Redis is not to be used until the hand has brought it back. */
void redis_away(struct redis_queue *q, const struct err *why);

/* redis_hand.c: leave an errand; never waits for the server. */
void redis_errand(struct redis_queue *q, const struct errand *errand);
/* Compare with the store soon. */
void redis_look(struct redis_queue *q);
/* One try to bring Redis back. */
int redis_come_back(struct redis_queue *q, struct err *e);
void *redis_hand(void *arg);

/* redis_refill.c: bring Redis and the store together. ERR_STATE: Redis was emptied in the
 * meantime. */
int redis_refill(struct redis_queue *q, struct err *e);
/* Whether it is this process that looks at the store this time: one of all is enough. */
int redis_my_turn(struct redis_queue *q, bool *mine, struct err *e);
/* What the script `add` takes for a job. */
void redis_describe(struct redis_words *w, const struct store_waiting *job,
                    int64_t now_ms);
#define REDIS_ADD_MOST 100 /* jobs in one call, so that no call takes long */

/* redis_measure.c: the hand's, when somebody wants to know. */
int redis_measure(struct redis_queue *q, struct err *e);
bool redis_health(struct queue *base, struct queue_health *out);

/* redis_allow.c */
int redis_allow(struct queue *base, const struct queue_rate *rate,
                struct queue_allowance *out);
/* The hand's: connect when that is due. */
void redis_allow_connect(struct redis_queue *q);

/* redis_ear.c */
void *redis_ear(void *arg);
/* It is to end, or to listen anew: the server may be another one. */
void redis_wake_ear(struct redis_queue *q);

#endif
