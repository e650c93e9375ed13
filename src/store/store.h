/* The store: the truth about every job.
 *
 * One small table of functions, so that PostgreSQL can stand beside SQLite. Every
 * function is atomic, durable when it returns 0, and thread-safe. Writes that belong to a
 * running attempt are fenced: they change something only while the job is processing and
 * the attempt is the one named, and give ERR_STATE otherwise, so that a worker which was
 * frozen and wakes cannot write. Times are milliseconds since 1970, passed in. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "store/job.h"

/* A finished window: what a resumed attempt begins from. */
struct store_checkpoint {
    int64_t next_frame;   /* mel frames before it are transcribed */
    const char *language; /* borrowed; NULL while unknown */
    double language_probability;
    const char *const *windows; /* borrowed [n_windows]: JSON of the new segments, one
                                   text per window that had any */
    size_t n_windows;
    int progress;
    const char *message; /* borrowed */
};

/* What earlier attempts left behind. */
struct store_resume {
    int64_t next_frame;
    char *language; /* owned; NULL while unknown */
    double language_probability;
    char **windows; /* owned [n_windows], in order */
    size_t n_windows;
    char **ahead; /* owned [n_ahead]: of windows behind next_frame that are done */
    size_t n_ahead;
};
void store_resume_release(struct store_resume *r);

struct store_result {
    const char *transcript_json; /* borrowed, as are the others */
    const char *transcript_text;
    const char *quality_json; /* the report as an object; NULL: there is none */
    const char *language;     /* NULL when unknown */
    double duration_seconds;
};

/* Which jobs a worker can take. */
struct store_wish {
    /* Beside others: of the same model, small, and never tried before (what has crashed a
     * worker is to do so alone). */
    const char *model; /* borrowed; NULL: not beside others */
    int64_t most_bytes;
    /* Of these models, names with commas between: what its machine lacks, another may
     * have. Looked at where `model` is NULL; NULL: any. */
    const char *models; /* borrowed */
};

struct store_crash {
    int limit; /* so many crashes at one place make the job failed */
    int64_t now_ms;
    int64_t run_after_ms;                   /* otherwise it waits until then */
    const char *error_code, *error_message; /* borrowed: for the failure */
};

/* What the retention asks for: finished jobs … */
enum store_aged {
    STORE_AGED_AUDIO, /* … kept by default, whose recording is still there */
    STORE_AGED_JOBS,  /* … kept by default */
    STORE_AGED_OWN,   /* … kept for days of their own; these are counted here */
    /* … that are to leave nothing behind: */
    STORE_AGED_FLEETING_AUDIO, /* … whose recording is still there */
    STORE_AGED_FLEETING_TEXT,  /* … not erased yet */
    STORE_AGED_FLEETING_JOBS,  /* … all */
};

/* Another process changed a job. */
struct store_news {
    char job_id[ID_SIZE]; /* "": any may have changed, look at everything */
    bool by_service;      /* which tells the queue itself; else a command did it */
    bool deleted;         /* otherwise: */
    enum job_status status;
    int attempt, progress;
    const char *message; /* borrowed; perhaps cut */
};
typedef void (*store_news_fn)(void *arg, const struct store_news *news);

struct store;
struct store_keys_ops;
struct store_audit_ops;
struct store_uploads_ops;
struct store_sources_ops;
struct store_webhooks_ops;
struct store_queue_ops;
struct store_workers_ops;
struct store_vitals_ops;
struct store_rates_ops;

struct store_waveform_ops;
struct store_waiting_ops;
struct store_holds_ops;
struct store_care_ops;

struct store_ops {
    void (*close)(struct store *s);
    /* NULL for a database that only one process uses: */
    void (*listen)(struct store *s, store_news_fn fn, void *arg);
    int (*others)(struct store *s, int64_t *count, struct err *e);

    int (*insert)(struct store *s, const struct job *j, const char *sha256,
                  struct err *e);
    int (*get)(struct store *s, const char *id, struct job *out, struct err *e);
    int (*list)(struct store *s, const struct job_filter *f, struct job_list *out,
                struct err *e);
    int (*transcript)(struct store *s, const char *id, struct buf *json, struct err *e);

    int (*claim)(struct store *s, const struct store_wish *wish, const char *owner,
                 int64_t now_ms, int64_t lease_ms, struct job *out, struct err *e);
    int (*renew)(struct store *s, const char *id, int attempt, int64_t lease_ms,
                 struct err *e);
    int (*decoded)(struct store *s, const char *id, int attempt, double seconds,
                   int progress, const char *message, struct err *e);
    int (*checkpoint)(struct store *s, const char *id, int attempt,
                      const struct store_checkpoint *c, struct err *e);
    int (*ahead)(struct store *s, const char *id, int attempt, int64_t until_frame,
                 const char *heard, struct err *e);
    int (*resume)(struct store *s, const char *id, struct store_resume *out,
                  struct err *e);
    int (*complete)(struct store *s, const char *id, int attempt, int64_t now_ms,
                    const struct store_result *r, struct err *e);
    int (*fail_job)(struct store *s, const char *id, int attempt, int64_t now_ms,
                    const char *code, const char *message, struct err *e);
    int (*requeue)(struct store *s, const char *id, int attempt, struct err *e);
    int (*put_off)(struct store *s, const char *id, int attempt, int64_t run_after_ms,
                   const char *message, struct err *e);
    int (*crash)(struct store *s, const char *id, int attempt,
                 const struct store_crash *c, struct err *e);
    int (*requeue_expired)(struct store *s, int64_t before_ms, int64_t *count,
                           struct err *e);

    int (*cancel)(struct store *s, const char *id, int64_t now_ms, struct err *e);
    int (*retry)(struct store *s, const char *id, struct err *e);
    int (*remove)(struct store *s, const char *id, struct err *e);
    int (*aged)(struct store *s, enum store_aged what, int64_t before_ms,
                char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e);
    int (*drop_audio)(struct store *s, const char *id, struct err *e);

    int (*probe)(struct store *s, struct err *e);
    int (*room)(struct store *s, struct err *e); /* NULL: a server minds its own disk */

    const struct store_keys_ops *keys;         /* keys.h */
    const struct store_audit_ops *audit;       /* audit.h */
    const struct store_native_ops *native;     /* store/native.h */
    const struct store_share_ops *share;       /* store/share.h */
    const struct store_settings_ops *settings; /* store/settings.h */
    const struct store_waveform_ops *waveform; /* store/waveform.h */
    const struct store_uploads_ops *uploads;   /* store/uploads.h */
    const struct store_sources_ops *sources;   /* store/sources.h */
    const struct store_webhooks_ops *webhooks; /* store/webhooks.h */
    const struct store_waiting_ops *waiting;   /* store/waiting.h */
    const struct store_queue_ops *queue;       /* store/queue_view.h */
    const struct store_workers_ops *workers;   /* store/workers.h */
    const struct store_holds_ops *holds;       /* store/holds.h */
    const struct store_care_ops *care;         /* store/care.h */
    const struct store_vitals_ops *vitals;     /* store/vitals.h */
    const struct store_rates_ops *rates;       /* store/rates.h; NULL: nobody shares */
};

/* Embedded at the beginning of every back end's own struct. */
struct store {
    const struct store_ops *ops;
};

struct store_options {
    bool
        exclusive;   /* a `serve` process: only one per local database. ERR_STATE when
                        another has it. Without, a command beside it: it may read and write,
                        but not change the schema while a service runs (ERR_STATE). */
    int connections; /* to a server, at most; 0: a few */
};

/* Open by URL: "sqlite:///relative/path" or "sqlite:////absolute/path", or
 * "postgresql://…". Folders are made, the schema is brought up to date. ERR_CORRUPT for a
 * damaged database, ERR_INVALID for an URL that is none, ERR_UNSUPPORTED for a database
 * that a newer version has written, and for a server that is too old; ERR_AWAY for one
 * that cannot be reached, ERR_DENIED, ERR_NOT_FOUND.
 *
 * ERR_UNSURE is given for a change of which nobody can say whether it will be there.
 * With a server, every function may give ERR_AWAY, when nothing was done because it could
 * not be reached for a while, and those that change something ERR_UNSURE, when the answer
 * to a commit was lost and the server does not tell what became of it. Doing it again is
 * harmless: what has an id or an attempt happens once. */
int store_open(struct store **out, const char *url, const struct store_options *options,
               struct err *e);

static inline void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

/* Whether other processes may use the database at the same time. */
static inline bool store_is_shared(const struct store *s)
{
    return s->ops->others != NULL;
}

/* How many other services use it now; one too many while that is not known for sure. */
static inline int store_others(struct store *s, int64_t *count, struct err *e)
{
    *count = 0;
    return s->ops->others ? s->ops->others(s, count, e) : 0;
}

/* Hear of what other processes change, on a thread of the store, until fn is NULL: at
 * once from a server, within half a second from a file. What this process changed at the
 * same time may be told of as well. */
static inline void store_listen(struct store *s, store_news_fn fn, void *arg)
{
    if (s->ops->listen)
        s->ops->listen(s, fn, arg);
}

/* The row of a new pending job. Fields of the future (attempt, progress …) are not read.
 * ERR_EXISTS when the id is taken. */
static inline int store_insert(struct store *s, const struct job *j, const char *sha256,
                               struct err *e)
{
    return s->ops->insert(s, j, sha256, e);
}

/* ERR_NOT_FOUND for an unknown id. `out` is filled on success only. */
static inline int store_get(struct store *s, const char *id, struct job *out,
                            struct err *e)
{
    return s->ops->get(s, id, out, e);
}

/* Newest first. */
static inline int store_list(struct store *s, const struct job_filter *f,
                             struct job_list *out, struct err *e)
{
    return s->ops->list(s, f, out, e);
}

/* Append the transcript's JSON. ERR_STATE when the job is not completed. */
static inline int store_transcript(struct store *s, const char *id, struct buf *json,
                                   struct err *e)
{
    return s->ops->transcript(s, id, json, e);
}

/* Take the most urgent pending job that is due and as wished (NULL: whichever), the
 * oldest of these; a wait of JOB_PRIORITY_STEP_MS is worth one step. It is processing,
 * its attempt is one higher, and `owner` holds it until lease_ms. ERR_NOT_FOUND when none
 * is. */
static inline int store_claim(struct store *s, const struct store_wish *wish,
                              const char *owner, int64_t now_ms, int64_t lease_ms,
                              struct job *out, struct err *e)
{
    return s->ops->claim(s, wish, owner, now_ms, lease_ms, out, e);
}

/* Fenced, like all that take an attempt. */
static inline int store_renew(struct store *s, const char *id, int attempt,
                              int64_t lease_ms, struct err *e)
{
    return s->ops->renew(s, id, attempt, lease_ms, e);
}

/* The recording is decoded. Progress never goes back. */
static inline int store_decoded(struct store *s, const char *id, int attempt,
                                double seconds, int progress, const char *message,
                                struct err *e)
{
    return s->ops->decoded(s, id, attempt, seconds, progress, message, e);
}

/* Only the new windows are written. Progress never goes back. */
static inline int store_checkpoint(struct store *s, const char *id, int attempt,
                                   const struct store_checkpoint *c, struct err *e)
{
    return s->ops->checkpoint(s, id, attempt, c, e);
}

/* A window that leads to `until_frame` is done, and one before it is not: what was heard
 * in it, a text that only the engine reads. It goes when a checkpoint has come so far. */
static inline int store_ahead(struct store *s, const char *id, int attempt,
                              int64_t until_frame, const char *heard, struct err *e)
{
    return s->ops->ahead(s, id, attempt, until_frame, heard, e);
}

/* `out` is filled on success only; release it. */
static inline int store_resume(struct store *s, const char *id, struct store_resume *out,
                               struct err *e)
{
    return s->ops->resume(s, id, out, e);
}

/* Transcript, state and progress 100 in one transaction; the checkpoints are dropped. */
static inline int store_complete(struct store *s, const char *id, int attempt,
                                 int64_t now_ms, const struct store_result *r,
                                 struct err *e)
{
    return s->ops->complete(s, id, attempt, now_ms, r, e);
}

static inline int store_fail(struct store *s, const char *id, int attempt, int64_t now_ms,
                             const char *code, const char *message, struct err *e)
{
    return s->ops->fail_job(s, id, attempt, now_ms, code, message, e);
}

/* Put it back, pending, with its checkpoints. */
static inline int store_requeue(struct store *s, const char *id, int attempt,
                                struct err *e)
{
    return s->ops->requeue(s, id, attempt, e);
}

/* The same, and it waits until then, for a reason that the message says. */
static inline int store_put_off(struct store *s, const char *id, int attempt,
                                int64_t run_after_ms, const char *message, struct err *e)
{
    return s->ops->put_off(s, id, attempt, run_after_ms, message, e);
}

/* Its worker died. Crashes are counted from the last checkpoint on: a job that gets
 * further each time is not the reason. At the limit it is failed, before that requeued.
 */
static inline int store_crash(struct store *s, const char *id, int attempt,
                              const struct store_crash *c, struct err *e)
{
    return s->ops->crash(s, id, attempt, c, e);
}

/* Put back every processing job whose lease ended before `before_ms` (INT64_MAX: all). */
static inline int store_requeue_expired(struct store *s, int64_t before_ms,
                                        int64_t *count, struct err *e)
{
    return s->ops->requeue_expired(s, before_ms, count, e);
}

/* pending or processing → cancelled; ERR_STATE from any other state. */
static inline int store_cancel(struct store *s, const char *id, int64_t now_ms,
                               struct err *e)
{
    return s->ops->cancel(s, id, now_ms, e);
}

/* failed or cancelled → pending, going on from the last checkpoint; ERR_STATE from any
 * other state. */
static inline int store_retry(struct store *s, const char *id, struct err *e)
{
    return s->ops->retry(s, id, e);
}

/* Row, checkpoints and transcript go. ERR_NOT_FOUND when there is none. */
static inline int store_remove(struct store *s, const char *id, struct err *e)
{
    return s->ops->remove(s, id, e);
}

/* Ids of at most `max` jobs that ended before `before_ms`. */
static inline int store_aged(struct store *s, enum store_aged what, int64_t before_ms,
                             char (*ids)[ID_SIZE], size_t max, size_t *count,
                             struct err *e)
{
    return s->ops->aged(s, what, before_ms, ids, max, count, e);
}

/* Note that the recording is gone. */
static inline int store_drop_audio(struct store *s, const char *id, struct err *e)
{
    return s->ops->drop_audio(s, id, e);
}

/* Whether a write could be made now; nothing is changed. Cheap. */
static inline int store_probe(struct store *s, struct err *e)
{
    return s->ops->probe(s, e);
}

/* Whether there is room for a new job, and for what those that are here will yet write:
 * ERR_FULL. Cheaper than a probe. */
static inline int store_room(struct store *s, struct err *e)
{
    return s->ops->room ? s->ops->room(s, e) : 0;
}

#endif
