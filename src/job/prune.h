/* The retention: recordings and jobs that are old enough go. */
#ifndef JOB_PRUNE_H
#define JOB_PRUNE_H

#include "job/service.h"

/* Remove what UPLOAD_RETENTION_DAYS and TRANSCRIPT_RETENTION_DAYS say, a bounded number
 * at a time. What cannot be removed is logged and tried again next time. */
void prune_run(struct jobs *s);

#endif
