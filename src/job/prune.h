/* The retention: what is old enough goes. Only the supervisor's thread calls this. */
#ifndef JOB_PRUNE_H
#define JOB_PRUNE_H

#include "job/service.h"

/* Remove what is older than the configuration, or a job itself, allows. */
void prune_run(struct jobs *s);

/* What cannot wait for an hour: jobs that are to leave nothing behind, the end of the
 * log, traces of what was deleted. Returns whether to be called again in a second. */
bool prune_soon(struct jobs *s);

#endif
