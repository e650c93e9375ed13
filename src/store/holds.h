/* Jobs that are on hold: nobody removes them, their recordings or what they said, neither
 * their owner nor the retention, until an operator takes the hold back.
 *
 * The database itself keeps them, by triggers, so that an older version of this program
 * that runs beside this one, and knows nothing of holds, removes nothing either. */
#ifndef STORE_HOLDS_H
#define STORE_HOLDS_H

#include "store/store.h"

#define STORE_HOLD_REASON_MAX 500

struct store_hold {
    char job_id[ID_SIZE];
    char reason[STORE_HOLD_REASON_MAX + 1]; /* UTF-8 */
    char placed_by[80];                     /* a key's id, or "shell" */
    int64_t placed_ms;
};

struct store_hold_list {
    struct store_hold *holds; /* owned [count] */
    size_t count;
};
void store_hold_list_release(struct store_hold_list *l);

struct store_holds_ops {
    int (*set)(struct store *s, const struct store_hold *h, struct err *e);
    int (*drop)(struct store *s, const char *id, struct err *e);
    int (*get)(struct store *s, const char *id, struct store_hold *out, struct err *e);
    int (*list)(struct store *s, struct store_hold_list *out, struct err *e);
};
extern const struct store_holds_ops sqlite_holds_ops; /* sqlite_holds.c */
extern const struct store_holds_ops pg_holds_ops;     /* pg_holds.c */

/* A job that is on hold already gets the new reason. ERR_NOT_FOUND without such a job. */
static inline int store_hold_set(struct store *s, const struct store_hold *h,
                                 struct err *e)
{
    return s->ops->holds->set(s, h, e);
}

/* ERR_NOT_FOUND when there is no hold on it. */
static inline int store_hold_drop(struct store *s, const char *id, struct err *e)
{
    return s->ops->holds->drop(s, id, e);
}

/* ERR_NOT_FOUND when there is no hold on it. */
static inline int store_hold_get(struct store *s, const char *id, struct store_hold *out,
                                 struct err *e)
{
    return s->ops->holds->get(s, id, out, e);
}

/* All, the oldest first. Release the list. */
static inline int store_hold_list(struct store *s, struct store_hold_list *out,
                                  struct err *e)
{
    return s->ops->holds->list(s, out, e);
}

/* 0 when the job may be removed, else ERR_HELD (or why it cannot be told). */
int store_hold_check(struct store *s, const char *id, struct err *e);

#endif
