/* The minutes of audio that a key has for a day. */
#ifndef JOB_QUOTA_H
#define JOB_QUOTA_H

#include "job/jobs.h"
#include "store/quota.h"

/* Whether there is any use in fetching the recording of a job: ERR_QUOTA with the reason.
 * When it is here the store judges (store_source_done). */
int quota_admit(struct jobs *s, const char *job_id, struct err *e);

#endif
