/* The job service of a `serve` process: what the HTTP doors see of jobs.
 *
 * Behind it: the store (truth), the queue (ids), the storage (files) and the workers
 * (child processes). Thread-safe. */
#ifndef JOB_JOBS_H
#define JOB_JOBS_H

#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"
#include "base/id.h"
#include "format/transcript.h"
#include "store/event.h"
#include "store/job.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct jobs;
struct meter;
struct store;

/* Opens the database (migrating it), the storage and the queue; starts the workers; goes
 * on with what a former process left. ERR_CORRUPT for a damaged database, ERR_STATE when
 * another service uses it. The config is borrowed until jobs_close. The workers are this
 * very program, started anew as `worker --embedded`. */
int jobs_open(struct jobs **out, const struct config *c, struct err *e);
/* What can be told of settings without opening anything: a language that is none, an
 * address in a list that is none. */
int jobs_check_settings(const struct config *c, struct err *e);
/* The config that was borrowed has new values (base/config_live.h): what was made of the
 * old ones is made anew. For one thread. */
int jobs_reload(struct jobs *s, struct err *e);
/* The same without doors, beside other processes on a shared database: what `worker` is.
 * It only takes jobs and does them; nothing of this header but jobs_close and jobs_store
 * is for it. ERR_UNSUPPORTED for a database that cannot be shared. */
int jobs_open_worker(struct jobs **out, const struct config *c, struct err *e);
/* Drains: running jobs hand back their checkpoint. */
void jobs_close(struct jobs *s);

/* Where the jobs are kept: for what else is kept there (job/keys.h). Borrowed. */
struct store *jobs_store(struct jobs *s);
/* What this process has done: job/meter.h. Borrowed. */
struct meter *jobs_meter(struct jobs *s);

/* ---- uploads: streamed to disk, hashed, synced, renamed ---- */
/* Whether there is room for a new recording and its job: ERR_FULL. `bytes`: how long it
 * will be, or 0 or less where nobody has said. Cheap. */
int jobs_room(struct jobs *s, int64_t bytes, struct err *e);
struct upload;
/* ERR_FULL when the disk is nearly full. */
int upload_begin(struct jobs *s, struct upload **out, struct err *e);
/* ERR_TOO_LARGE beyond MAX_FILE_SIZE_MB, ERR_FULL, ERR_NOT_MEDIA for a file that begins
 * like something else (text, a picture …), ERR_UNSUPPORTED for one that is plainly of a
 * format that is not allowed; then only upload_abort is left. */
int upload_write(struct upload *u, const void *bytes, size_t length, struct err *e);
/* Forget it and its file; NULL is fine. */
void upload_abort(struct upload *u);

/* Whom to tell when a job ends. */
struct job_webhook {
    const char *url;    /* borrowed, as is the other */
    const char *secret; /* NULL or "": the service's own, if it has one */
    bool with_transcript;
};

struct job_request {
    const struct job_webhook *webhook; /* borrowed; NULL: nobody */
    const char *caller; /* whose the job is to be: a key's id; NULL or "": nobody's */
    const char *original_filename, *model, *language, *task, *options_json; /* borrowed;
        model NULL or "": default; language NULL or "": the configured one; task NULL or
        "": transcribe; options_json NULL or "": none, else an object with any of the keys
        of job/options.h (prompt, temperature …) */
    int priority;    /* JOB_PRIORITY_… */
    int retain_days; /* or one of JOB_RETAIN_… */
    const char *key; /* borrowed or NULL: makes the request happen once, see below */
    const char *key_scope; /* borrowed or NULL: counts as a part of the request */
    bool *repeated; /* set when the key has made this very job before; with `key` */
    bool detect;    /* only tell the language: model, language and task as above, but the
                       task of the job becomes "detect", and its transcript has no segment */
    bool share; /* become the job of this caller that has the same recording and the same
                   parameters, unless it failed, was cancelled or is JOBS_SHARED_MS old */
};
#define JOBS_SHARED_MS INT64_C(86400000)

#define JOB_KEY_HOURS  24 /* so long a key is known */

/* Take a key for as long as a request with it is coming in: ERR_STATE when another one
 * has it at this moment. */
int jobs_key_take(struct jobs *s, const char *caller, const char *key, struct err *e);
void jobs_key_leave(struct jobs *s, const char *caller, const char *key);

/* Judge what is known of a request before its recording is here: ERR_INVALID,
 * ERR_UNSUPPORTED, ERR_NOT_FOUND as from jobs_submit. */
int jobs_check(struct jobs *s, const struct job_request *request, struct err *e);

/* Validates (ERR_INVALID: unknown model, language, task, option, empty file;
 * ERR_NOT_FOUND: model not present;
 * ERR_NOT_MEDIA and ERR_UNSUPPORTED as above), makes the upload durable, writes the row,
 * COMMITs, wakes a worker. Takes the upload over in every case. *out is filled on
 * success. With a key that has made a job for the same recording and parameters before,
 * *out is that job; ERR_STATE when they were others. With `share` it may be a job that
 * was there before, in any state but failed and cancelled, and then the upload is gone.
 */
int jobs_submit(struct jobs *s, struct upload *u, const struct job_request *request,
                struct job *out, struct err *e);

/* Whether recordings may be fetched from this URL, as far as it shows by itself:
 * ERR_UNSUPPORTED when URL_FETCH is off, ERR_INVALID, ERR_DENIED. */
int jobs_check_url(struct jobs *s, const char *url, struct err *e);
/* As jobs_submit, of a recording that is fetched from `url` as the job's first part. */
int jobs_submit_url(struct jobs *s, const char *url, const struct job_request *request,
                    struct job *out, struct err *e);

/* ERR_NOT_FOUND for an unknown id or a text that is none. */
int jobs_get(struct jobs *s, const char *id, struct job *out, struct err *e);
/* Whether a job is this caller's; everything is where `caller` is NULL. ERR_NOT_FOUND
 * when it is not, in the words for a job that does not exist. */
int jobs_of_caller(struct jobs *s, const char *caller, const char *id, struct err *e);
/* Newest first. Release the list. */
int jobs_list(struct jobs *s, const struct job_filter *f, struct job_list *out,
              struct err *e);
/* The whole transcript of a completed job; ERR_STATE when it is not. */
int jobs_transcript(struct jobs *s, const char *id, struct transcript *out,
                    struct err *e);
/* Append the segments that a job that is not completed has heard from its `*position`th
 * window on (the first is 0), and move *position behind it. */
int jobs_heard(struct jobs *s, const char *id, int64_t *position, struct transcript *news,
               struct err *e);
/* Cancel if running, then remove row, audio and transcript. ERR_HELD for a job that is on
 * hold. */
int jobs_delete(struct jobs *s, const char *id, struct err *e);
/* pending or processing → cancelled, ERR_STATE from any other state. */
int jobs_cancel(struct jobs *s, const char *id, struct job *out, struct err *e);
/* failed or cancelled → pending, ERR_STATE from any other state; goes on from the last
 * checkpoint. */
int jobs_retry(struct jobs *s, const char *id, struct job *out, struct err *e);

/* The whole transcript of a job is in its caller's hands. One that is to leave nothing
 * behind (JOB_RETAIN_NONE) loses it now; for any other nothing happens. */
void jobs_fetched(struct jobs *s, const char *id);

/* ---- the log of all changes, which survives a restart ---- */
/* See store/event.h. `caller` NULL: everybody's. */
int jobs_log_extent(struct jobs *s, struct store_log_extent *out, struct err *e);
int jobs_log_read(struct jobs *s, int64_t after, const char *caller, size_t max,
                  struct store_event_list *out, struct err *e);

/* ---- webhooks ---- */
/* Begin to tell of ended jobs, of those from before as well. `present` makes what is told
 * of a job, a new reference, or NULL when memory is out; it is called on threads of the
 * service. */
typedef json_t *(*jobs_present_fn)(const struct job *j, bool with_transcript);
int jobs_start_webhooks(struct jobs *s, jobs_present_fn present, struct err *e);

/* What became of the last notice of a job. */
struct job_webhook_report {
    char origin[300]; /* where it goes: of the URL what is no secret */
    char state[16];  /* "none": the job has not ended; "waiting", "delivered", "failed" */
    char error[500]; /* of the last attempt; "": none */
    int attempts, http_status;
    int64_t last_ms, next_ms; /* 0: never */
};
/* ERR_NOT_FOUND: the job has no webhook. */
int jobs_webhook_report(struct jobs *s, const char *id, struct job_webhook_report *out,
                        struct err *e);

/* ---- progress ---- */
struct job_event {
    char job_id[ID_SIZE];
    enum job_status status;
    int progress;
    char message[160];
    int64_t time_ms;
};
/* A job that is deleted while it lives is told of as cancelled. Events of one job come in
 * the order of its changes. */
typedef void (*job_event_fn)(void *arg, const struct job_event *event);
/* Call `fn` (on the service's thread: be short, take no lock that is held while calling
 * into jobs) at every change of one job, or of all when job_id is NULL. Returns a handle
 * above 0, or a negative error. After jobs_unsubscribe returns, fn is not running and
 * will not be called again; so it must not be called from fn, nor must jobs_subscribe. */
int jobs_subscribe(struct jobs *s, const char *job_id, job_event_fn fn, void *arg);
void jobs_unsubscribe(struct jobs *s, int handle);

/* How many transcriptions the living workers of all machines do at the same time. */
int jobs_at_once(struct jobs *s);

/* Whether the service can do its job: database answers, storage writable with space left,
 * a worker alive (here, or with EMBEDDED_WORKERS=off anywhere), a model present. ERR with
 * the failing part first in the message
 * ("database: …"). Cheap enough to be asked once a second, and answered within two, also
 * when a part does not answer. */
int jobs_ready(struct jobs *s, struct err *e);

/* Whether its threads do anything at all, be it to fail: what another start would mend,
 * and nothing else. For who watches the process. */
int jobs_alive(struct jobs *s, struct err *e);

#endif
