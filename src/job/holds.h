/* Jobs on hold: placed and taken back, by the doors and by the shell. Every verb leaves a
 * line in the audit log. See store/holds.h. */
#ifndef JOB_HOLDS_H
#define JOB_HOLDS_H

#include "job/keys.h"
#include "store/holds.h"

/* Keep a job until the hold is taken back; on one that is on hold already the reason is
 * changed. ERR_INVALID for a reason that is none, ERR_NOT_FOUND. */
int holds_place(struct store *s, const char *id, const char *reason,
                const struct key_actor *actor, struct err *e);

/* ERR_NOT_FOUND when there is no hold on it. What it is kept for from then on is what its
 * days say. */
int holds_take_back(struct store *s, const char *id, const struct key_actor *actor,
                    struct err *e);

/* The hold as it is shown: since when, and to whom it may be told why and by whom. A new
 * reference, NULL when memory is out. */
json_t *hold_json(const struct store_hold *h, bool all);

#endif
