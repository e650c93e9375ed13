/* The minutes of audio that a key has for a day. */
#ifndef JOB_QUOTA_H
#define JOB_QUOTA_H

#include "job/jobs.h"
#include "store/keys.h"

enum quota_state {
    QUOTA_LEFT,
    QUOTA_WAITING, /* may be used up by the recordings that wait */
    QUOTA_USED,
};

/* `minutes` 0: no limit. As long as something is left, a recording is taken, however long
 * it is. `urls`: recordings that are not here yet, of which nothing is known, count for a
 * minute each. */
enum quota_state quota_judge(const struct store_usage *used, int64_t minutes, bool urls);

/* Whether a job of that caller may wait for a recording of which nothing is known:
 * ERR_QUOTA. Holding `order` until it does. */
int quota_reserve(struct jobs *s, const char *caller, struct err *e);

/* Whether the recording of a job that is fetched may still be taken: ERR_QUOTA with the
 * reason. Holding `order` until it is taken, so that of several only one is the last. */
int quota_admit(struct jobs *s, const char *job_id, struct err *e);

#endif
