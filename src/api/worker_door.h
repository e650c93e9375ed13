/* The one door that a `worker` process may have: its figures, and whether it lives, on a
 * port of its own (WORKER_METRICS_PORT). Who may read them is judged as at `serve`. */
#ifndef API_WORKER_DOOR_H
#define API_WORKER_DOOR_H

#include "api/api.h"

struct worker_door;

/* `jobs` is one of jobs_open_worker; both are borrowed. *out is NULL where no port is
 * set. */
int worker_door_open(struct worker_door **out, const struct config *config,
                     struct jobs *jobs, struct err *e);
/* NULL is fine. */
void worker_door_close(struct worker_door *d);

#endif
