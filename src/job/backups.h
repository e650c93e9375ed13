/* When copies were made and tried last, as whoever makes them wrote it down. */
#ifndef JOB_BACKUPS_H
#define JOB_BACKUPS_H

#include "job/jobs.h"
#include "store/backup_state.h"

/* All 0 where nothing was written down. */
void jobs_backups(struct jobs *s, struct backup_state *out);

#endif
