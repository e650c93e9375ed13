/* Who works on this database, as people and programs are told. Any thread. */
#ifndef JOB_WORKERS_H
#define JOB_WORKERS_H

#include "job/jobs.h"
#include "store/workers.h"

#include <jansson.h>

/* One of which nothing was heard for so long counts as dead, and is forgotten after a
 * minute. */
#define WORKER_DEAD_MS 15000
#define WORKER_GONE_MS 60000

/* All that are known, also dead ones. Release the list. */
int jobs_workers(struct jobs *s, struct store_worker_list *out, struct err *e);

/* Whether any is alive, anywhere: ERR_NOT_FOUND says what to do. */
int jobs_any_worker(struct jobs *s, struct err *e);

bool worker_is_alive(const struct store_worker *w);

/* How many transcriptions those that are alive can do at the same time, on all machines
 * together; 0 when that is not known. */
int workers_at_once(struct store *s);

/* A worker as the interface and the shell show it; NULL without memory. */
json_t *worker_json(const struct store_worker *w);

#endif
