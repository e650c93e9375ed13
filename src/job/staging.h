/* Recordings for workers, fetched from a storage that is a server before they are needed,
 * by threads of their own: the supervisor, who asks for them, must never wait. */
#ifndef JOB_STAGING_H
#define JOB_STAGING_H

#include "base/err.h"

struct jobs;
struct staging;

/* Without threads where recordings are files. */
int staging_new(struct staging **out, struct jobs *s, struct err *e);
/* Its threads end; what is asked for is coming for ever. Before the supervisor ends. */
void staging_stop(struct staging *t);
void staging_free(struct staging *t);

/* The recording of a job: a descriptor, which the caller closes; STAGING_COMING: ask
 * again later, the supervisor is woken; or an error. While the storage is away it is
 * coming. What is not asked for any more is given up. */
#define STAGING_COMING ERR_AWAY
int staging_ask(struct staging *t, const char *id, struct err *e);
/* It has been handed to a worker. */
void staging_done(struct staging *t, const char *id);

#endif
