#include "job/state.h"

#include "base/mem.h"

static const struct transition {
    enum job_status from;
    enum job_change change;
    enum job_status to;
} transitions[] = {
    {JOB_PENDING, JOB_CLAIM, JOB_PROCESSING},
    {JOB_PENDING, JOB_CANCEL, JOB_CANCELLED},
    {JOB_PROCESSING, JOB_COMPLETE, JOB_COMPLETED},
    {JOB_PROCESSING, JOB_FAIL, JOB_FAILED},
    {JOB_PROCESSING, JOB_CANCEL, JOB_CANCELLED},
    {JOB_PROCESSING, JOB_REQUEUE, JOB_PENDING},
    {JOB_FAILED, JOB_RETRY, JOB_PENDING},
    {JOB_CANCELLED, JOB_RETRY, JOB_PENDING},
};

bool job_state_next(enum job_status from, enum job_change change, enum job_status *to)
{
    for (size_t i = 0; i < ARRAY_LENGTH(transitions); i++)
        if (transitions[i].from == from && transitions[i].change == change) {
            *to = transitions[i].to;
            return true;
        }
    return false;
}

bool job_state_ended(enum job_status s)
{
    return s == JOB_COMPLETED || s == JOB_FAILED || s == JOB_CANCELLED;
}
