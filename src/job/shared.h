/* What all processes of a service share beyond its jobs. */
#ifndef JOB_SHARED_H
#define JOB_SHARED_H

#include "job/jobs.h"
#include "queue/queue.h"

/* Count one more of somebody, together with the other processes: see queue_allow. On a
 * service of one process, or none (NULL), ERR_UNSUPPORTED. May take a tenth of a second.
 */
int jobs_allow(struct jobs *s, const struct queue_rate *rate,
               struct queue_allowance *out);

#endif
