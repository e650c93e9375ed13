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
struct room;

/* `s` is borrowed; its store, queue, blobs and events are open. */
int supervisor_start(struct supervisor **out, struct jobs *s, struct err *e);
/* Puts running jobs back, ends the workers and the thread. */
void supervisor_close(struct supervisor *v);

/* There is something to look at: an event was posted. Any thread. */
void supervisor_wake(struct supervisor *v);
/* The job was cancelled or deleted: end the work of this attempt or an earlier one, if it
 * is under way. Any thread. */
void supervisor_stop_job(struct supervisor *v, const char *id, int attempt);
/* Which models are in memory. Borrowed; see there what any thread may ask. */
struct room *supervisor_room(struct supervisor *v);
/* Transcriptions at the same time, and what each of them gets. */
int supervisor_workers(const struct supervisor *v);
int supervisor_threads(const struct supervisor *v);
/* Processes with workers on this database, as far as is known. Any thread. */
int64_t supervisor_peers(const struct supervisor *v);
/* Whether workers live: ERR_CRASH while all of them keep dying. Any thread. */
int supervisor_ready(struct supervisor *v, struct err *e);
/* Whether its thread still comes round: ERR_TIMEOUT when it has not for a minute. Any
 * thread. */
int supervisor_alive(struct supervisor *v, struct err *e);

#endif
