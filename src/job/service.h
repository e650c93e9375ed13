/* What the parts of the job service share. Private to this layer. */
#ifndef JOB_SERVICE_H
#define JOB_SERVICE_H

#include "job/events.h"
#include "job/jobs.h"
#include "queue/queue.h"
#include "store/blob.h"
#include "store/store.h"

#include <pthread.h>

/* Uploads are refused while less than this is free: the database must go on. */
#define STORAGE_RESERVE_BYTES (64ull << 20)

/* A byte for every 20 ms: more than three days. */
#define WAVEFORM_MAX_BYTES (16u << 20)

struct supervisor;

struct jobs {
    const struct config *config; /* borrowed */
    struct store *store;         /* owned, as are the others */
    struct queue *queue;
    struct blob_store *blobs;
    struct events *events;
    struct supervisor *supervisor;
    /* Held over a change of state and the posting of its event, so that events of one job
     * come in the order of its changes. */
    pthread_mutex_t order;
};

/* Post the state that `j` is in now. Call with `order` held. */
void jobs_post(struct jobs *s, const struct job *j);

/* Remove a job and its recording, whatever its state. */
int jobs_forget(struct jobs *s, const char *id, struct err *e);

#endif
