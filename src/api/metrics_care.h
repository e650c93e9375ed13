/* Figures of what must not be forgotten: disks that fill up, when the database was looked
 * through, what is on hold. */
#ifndef API_METRICS_CARE_H
#define API_METRICS_CARE_H

#include "base/buf.h"
#include "job/jobs.h"

/* Append them in Prometheus' text format. `database`: whether it answers; if not, what is
 * in it is left out. */
void metrics_care(struct jobs *s, bool database, struct buf *out);

#endif
