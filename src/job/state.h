/* The life of a job, as a pure function.
 *
 *     pending ──claim──► processing ──complete──► completed
 *        ▲  ▲               │ │ └────fail──────► failed ────┐
 *        │  └───requeue─────┘ └─────cancel─────► cancelled ─┤
 *        └──────────────────retry───────────────────────────┘
 *     pending ──cancel──► cancelled
 *
 * The store enforces the same in its statements; a test compares the two. */
#ifndef JOB_STATE_H
#define JOB_STATE_H

#include "store/job.h"

enum job_change {
    JOB_CLAIM,
    JOB_COMPLETE,
    JOB_FAIL,
    JOB_CANCEL,
    JOB_REQUEUE,
    JOB_RETRY,
    JOB_CHANGE_COUNT
};

/* Whether `change` is allowed from `from`; *to is the state after it, untouched when it
 * is not. */
bool job_state_next(enum job_status from, enum job_change change, enum job_status *to);

/* No worker will touch it again: completed, failed, cancelled. */
bool job_state_ended(enum job_status s);

#endif
