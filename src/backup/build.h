/* What a restore and a drill share. Private to this layer. */
#ifndef BACKUP_BUILD_H
#define BACKUP_BUILD_H

#include "backup/backup.h"
#include "store/rebuild.h"

/* The database of a copy, built, looked at and found to hold what the manifest says; in
 * its place, or (scratch) elsewhere. Only rebuild_commit is missing. */
int backup_build(struct vault *v, const struct config *c, const struct manifest *m,
                 const char *scratch, struct rebuild **out, struct err *e);
/* Read every recording of a copy and compare it. */
int backup_read_recordings(struct vault *v, const struct manifest *m, struct err *e);

#endif
