/* Recordings whose jobs are gone, while a copy holds them: see store/hold.h. They are
 * remembered in memory alone, for one without a job is swept when a service begins. */
#ifndef JOB_HELD_H
#define JOB_HELD_H

#include "job/jobs.h"

struct held;
int held_new(struct held **out, struct err *e);
void held_free(struct held *h);

/* Remove the recording of a job that no longer has it, now or when the copy is made. */
int jobs_remove_recording(struct jobs *s, const char *id, struct err *e);
/* Whether it must not go now; then it is remembered. */
bool jobs_holds(struct jobs *s, const char *id);
/* Remove those that are held no longer. */
void jobs_let_go(struct jobs *s);

#endif
