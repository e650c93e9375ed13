/* What a queue that stands beside the store asks of it: which jobs wait, and to claim the
 * very one that the queue has chosen. The promises of store.h hold. */
#ifndef STORE_WAITING_H
#define STORE_WAITING_H

#include "store/store.h"

/* A pending job whose recording is here, as far as a queue needs to know it. Strings are
 * owned. */
struct store_waiting {
    char id[ID_SIZE];
    char *caller, *model;
    int priority, attempt;
    int64_t created_ms, run_after_ms, file_bytes;
    double seconds; /* of audio; 0 while unknown */
};
struct store_waiting_list {
    struct store_waiting *list; /* owned [count] */
    size_t count;
};
void store_waiting_release(struct store_waiting *w);
void store_waiting_list_release(struct store_waiting_list *l);

struct store_waiting_ops {
    int (*list)(struct store *s, const struct store_waiting *after, size_t max,
                struct store_waiting_list *out, struct err *e);
    int (*get)(struct store *s, const char *id, struct store_waiting *out, struct err *e);
    int (*claim)(struct store *s, const char *id, int attempt, const char *owner,
                 int64_t now_ms, int64_t lease_ms, struct job *out, struct err *e);
};

/* The order of store_claim: a job with a lower number goes first, then the lower id. */
static inline int64_t store_waiting_turn(const struct store_waiting *w)
{
    return w->created_ms - (int64_t)w->priority * JOB_PRIORITY_STEP_MS;
}

/* At most `max` of those that wait, in the order of store_claim, those that are not due
 * yet included; the ones behind `after` (NULL: from the first). Release the list. */
static inline int store_waiting_list(struct store *s, const struct store_waiting *after,
                                     size_t max, struct store_waiting_list *out,
                                     struct err *e)
{
    return s->ops->waiting->list(s, after, max, out, e);
}

/* One of them. ERR_NOT_FOUND when this one does not wait (any more). Release it. */
static inline int store_waiting_get(struct store *s, const char *id,
                                    struct store_waiting *out, struct err *e)
{
    return s->ops->waiting->get(s, id, out, e);
}

/* As store_claim, but this job and no other, and only if `attempt` is still the number of
 * its last attempt. ERR_STATE when it cannot be claimed: it does not wait, is not due, is
 * gone, or was tried in the meantime. */
static inline int store_waiting_claim(struct store *s, const char *id, int attempt,
                                      const char *owner, int64_t now_ms, int64_t lease_ms,
                                      struct job *out, struct err *e)
{
    return s->ops->waiting->claim(s, id, attempt, owner, now_ms, lease_ms, out, e);
}

#endif
