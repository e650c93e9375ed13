/* The job service of a `serve` process: what the HTTP doors see of jobs.
 *
 * Behind it: the store (truth), the queue (ids), the storage (files) and the workers
 * (child processes). Thread-safe. */
#ifndef JOB_JOBS_H
#define JOB_JOBS_H

#include "base/config.h"
#include "base/err.h"
#include "base/id.h"
#include "format/transcript.h"

#include <stdint.h>

enum job_status { JOB_PENDING, JOB_PROCESSING, JOB_COMPLETED, JOB_FAILED, JOB_CANCELLED };
const char *job_status_name(enum job_status s);          /* "pending" … */
bool job_status_parse(const char *name, enum job_status *out);

/* A job as callers see it. Strings are owned; job_release frees them. */
struct job {
    char id[ID_SIZE];
    enum job_status status;
    int attempt;                  /* fences writes: rises with each claim */
    char *original_filename;      /* as the caller named it; any UTF-8 */
    char *filename;               /* name in the storage: made by us */
    char *model;                  /* asked for, or the default at submission */
    char *language_asked;         /* "auto" or a code */
    char *language;               /* found; NULL before */
    char *task;                   /* "transcribe", "translate" */
    char *options;                /* JSON: prompt, temperature … */
    char *transcript_text;        /* NULL before it is completed */
    char *error_message, *error_code; /* NULL unless failed */
    char *message;                /* what is going on, for progress displays */
    int64_t created_ms, started_ms, completed_ms; /* 0: not yet */
    int64_t file_bytes;
    double duration_seconds;      /* 0 before it is decoded */
    int progress;                 /* 0 … 100 */
};
void job_release(struct job *j);

struct job_list {
    struct job *jobs;   /* owned [count]; transcript_text is not filled in */
    size_t count;
    int64_t total;      /* that match, without limit and offset */
};
void job_list_release(struct job_list *l);

struct jobs;

/* Opens the database (migrating it), the storage and the queue; starts the workers; goes
 * on with what a former process left. ERR_CORRUPT for a damaged database. */
int jobs_open(struct jobs **out, const struct config *c, struct err *e);
/* Drains: running jobs hand back their checkpoint. */
void jobs_close(struct jobs *s);

/* ---- uploads: streamed to disk, hashed, synced, renamed ---- */
struct upload;
int upload_begin(struct jobs *s, struct upload **out, struct err *e);
int upload_write(struct upload *u, const void *bytes, size_t length, struct err *e);
/* Forget it and its file; NULL is fine. */
void upload_abort(struct upload *u);

struct job_request {
    const char *original_filename, *model, *language, *task, *options_json; /* borrowed;
        model NULL or "": default; language NULL or "": the configured one */
};
/* Validates (ERR_INVALID: unknown model, language, task; ERR_NOT_FOUND: model not
 * present), makes the upload durable, writes the row, COMMITs, wakes a worker. Takes the
 * upload over in every case. *out is filled on success. */
int jobs_submit(struct jobs *s, struct upload *u, const struct job_request *request,
                struct job *out, struct err *e);

int jobs_get(struct jobs *s, const char *id, struct job *out, struct err *e);
struct job_filter {
    int64_t limit, offset;
    bool by_status;
    enum job_status status;
    const char *search;   /* borrowed or NULL: in file names and transcripts */
};
int jobs_list(struct jobs *s, const struct job_filter *f, struct job_list *out,
              struct err *e);
/* The whole transcript of a completed job; ERR_STATE when it is not. */
int jobs_transcript(struct jobs *s, const char *id, struct transcript *out, struct err *e);
/* Cancel if running, then remove row, audio and transcript. */
int jobs_delete(struct jobs *s, const char *id, struct err *e);
int jobs_cancel(struct jobs *s, const char *id, struct job *out, struct err *e);
int jobs_retry(struct jobs *s, const char *id, struct job *out, struct err *e);

/* ---- progress ---- */
struct job_event {
    char job_id[ID_SIZE];
    enum job_status status;
    int progress;
    char message[160];
    int64_t time_ms;
};
typedef void (*job_event_fn)(void *arg, const struct job_event *event);
/* Call `fn` (on the service's thread: be short, take no lock that is held while calling
 * into jobs) at every change of one job, or of all when job_id is NULL. Returns a handle
 * above 0, or a negative error. After jobs_unsubscribe returns, fn is not running and
 * will not be called again. */
int jobs_subscribe(struct jobs *s, const char *job_id, job_event_fn fn, void *arg);
void jobs_unsubscribe(struct jobs *s, int handle);

/* Whether the service can do its job: database answers, storage writable with space left,
 * a worker alive, a model present. ERR with the failing part first in the message
 * ("database: …"). Cheap enough to be asked once a second. */
int jobs_ready(struct jobs *s, struct err *e);

#endif
