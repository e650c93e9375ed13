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

struct supervisor;
struct fetcher;
struct webhooks;
struct net_guard;

struct jobs {
    const struct config *config; /* borrowed */
    struct store *store;         /* owned, as are the others */
    struct queue *queue;
    struct blob_store *blobs;
    struct events *events;
    struct supervisor *supervisor;
    struct net_guard *fetch_guard, *webhook_guard;
    struct fetcher *fetcher;
    struct webhooks *webhooks;
    /* Held over a change of state and the posting of its event, so that events of one job
     * come in the order of its changes. */
    pthread_mutex_t order;
};

/* Judge the first bytes of a recording: ERR_NOT_MEDIA or ERR_UNSUPPORTED for what is
 * plainly none. */
#define JOBS_HEAD_BYTES 512
int jobs_judge_head(struct jobs *s, const uint8_t *head, size_t length, struct err *e);

/* The job of a recording that is in the storage, or (blob NULL) is to be fetched from
 * `url`: judge the request, write the row, tell of it and wake who is to do it.
 * ERR_EXISTS when there is a job of that id. */
struct jobs_recording {
    const char *id;
    const struct blob_info *blob;
    const char *url;
};
int jobs_record(struct jobs *s, const struct jobs_recording *rec,
                const struct job_request *request, struct job *out, struct err *e);

/* Post the state that `j` is in now. Call with `order` held. */
void jobs_post(struct jobs *s, const struct job *j);

/* Remove a job and its recording, whatever its state. */
int jobs_forget(struct jobs *s, const char *id, struct err *e);

#endif
