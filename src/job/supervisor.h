/* The supervisor: one thread that owns the workers and tells subscribers.
 *
 * It claims jobs for idle workers, writes their checkpoints, renews their leases,
 * restarts those that die, and ends those that are cancelled or run too long. A plain
 * poll loop: there is one socket per worker and one doorbell, a handful of descriptors,
 * and nothing here needs more than a timeout. */
#ifndef JOB_SUPERVISOR_H
#define JOB_SUPERVISOR_H

#include "job/service.h"

struct supervisor;

/* `s` is borrowed; its store, queue, blobs and events are open. */
int supervisor_start(struct supervisor **out, struct jobs *s, struct err *e);
/* Puts running jobs back, ends the workers and the thread. */
void supervisor_close(struct supervisor *v);

/* There is something to look at: an event was posted. Any thread. */
void supervisor_wake(struct supervisor *v);
/* The job was cancelled or deleted: end its work if it has begun. Any thread. */
void supervisor_stop_job(struct supervisor *v, const char *id);
/* Whether a worker is alive or about to be. Any thread. */
int supervisor_ready(struct supervisor *v, struct err *e);

#endif
