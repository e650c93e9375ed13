/* The part of GET /metrics that tells of copies. */
#ifndef API_METRICS_BACKUP_H
#define API_METRICS_BACKUP_H

#include "base/buf.h"
#include "job/jobs.h"

/* Append it. 0 where something never happened, so that an alert for what is too old holds
 * for what never was. */
void metrics_backup(struct jobs *jobs, struct buf *out);

#endif
