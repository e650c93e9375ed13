/* What the parts of the job service share. Private to this layer. */
#ifndef JOB_SERVICE_H
#define JOB_SERVICE_H

#include "job/events.h"
#include "job/jobs.h"
#include "job/pressure.h"
#include "job/meter.h"
#include "job/stranded.h"
#include "queue/queue.h"
#include "store/blob.h"
#include "store/native.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

/* Uploads are refused while less than this is free: the database must go on. */
#define STORAGE_RESERVE_BYTES (64ull << 20)

/* A byte for every 20 ms: more than three days. */
#define WAVEFORM_MAX_BYTES (16u << 20)

struct supervisor;
struct key_set;
struct pulls;
struct fetcher;
struct staging;
struct pours;
struct resumable_list;
struct webhooks;
struct net_guard;
struct held;

/* Which models the workers had when it was last asked. */
struct stranded_cache {
    pthread_mutex_t lock;
    struct stranded known; /* owned */
    int64_t fresh_until_ns;
};

struct jobs {
    const struct config *config; /* borrowed */
    /* A `serve` process: it has doors, and does what only one that has them does
     * (fetches, webhooks, downloads of models, the retention). What is only its own is
     * NULL in a `worker` process. */
    bool has_doors;
    bool has_workers;
    struct store *store; /* owned, as are the others */
    struct queue *queue;
    struct blob_store *blobs;
    struct staging *staging;
    struct pours *pours;
    struct events *events;
    struct supervisor *supervisor;
    struct health *health;
    struct pulls *pulls;
    struct net_guard *_Atomic fetch_guard, *_Atomic webhook_guard;
    struct retired *retired; /* owned: guards of before a reload */
    struct fetcher *fetcher;
    struct resumable_list *written; /* uploads that requests are at */
    struct webhooks *webhooks;
    /* Held over a change of state and the posting of its event, so that events of one job
     * come in the order of its changes. */
    pthread_mutex_t order;
    /* For a sweep: other services may be taking recordings into the same storage. */
    bool beside;
    struct stranded_cache stranded;
    struct pressure pressure;
    struct key_set *keys; /* owned: of requests that are coming in */
    struct held *held;    /* owned: recordings that go when a copy is made */
    struct meter meter;
    /* Something was deleted, and is still in the database's journal, or in its search
     * index. */
    atomic_bool scrub_wanted, tidy_wanted;
    bool tidying; /* the supervisor's: more is to follow */
};

/* once.c */
int key_set_new(struct key_set **out, struct err *e);
void key_set_free(struct key_set *k);

/* pour.c; freeing waits for all. */
int pours_new(struct pours **out, struct err *e);
void pours_free(struct pours *p);

/* resumable.c */
int resumable_list_new(struct resumable_list **out, struct err *e);
void resumable_list_free(struct resumable_list *l);

/* Judge the first bytes of a recording: ERR_NOT_MEDIA or ERR_UNSUPPORTED for what is
 * plainly none. */
#define JOBS_HEAD_BYTES 512
int jobs_judge_head(struct jobs *s, const uint8_t *head, size_t length, struct err *e);

/* The job of a recording that is in the storage, or (blob NULL) is to be fetched from
 * `url`: judge the request, write the row, tell of it and wake who is to do it. When it
 * asks for what another has asked for before, *out is that job, and the recording is the
 * caller's to remove. ERR_EXISTS when there is a job of that id. */
struct jobs_recording {
    const char *id;
    const struct blob_info *blob;
    const char *url;
};
int jobs_record(struct jobs *s, const struct jobs_recording *rec,
                const struct job_request *request, struct job *out, struct err *e);

/* Cut at a character: half a UTF-8 sequence would spoil the JSON that it goes into. */
void jobs_copy_cut(char *out, size_t size, const char *text);

/* Post the state that `j` is in now. Call with `order` held. */
void jobs_post(struct jobs *s, const struct job *j);

/* Remove what uploads left behind that never became jobs. */
void jobs_sweep(struct jobs *s);

/* A job has ended: one that is to leave nothing behind loses its recording. */
void jobs_ended(struct jobs *s, const struct job *j);
/* Drop the transcript of a job that has ended and all that tells of it. */
int jobs_erase(struct jobs *s, const char *id, struct err *e);

/* Remove a job and its recording, whatever its state. */
int jobs_forget(struct jobs *s, const char *id, struct err *e);

#endif
