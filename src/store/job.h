/* A job: what the store keeps of it and callers see.
 *
 * It lives in the store's layer, below the service that drives jobs (job/jobs.h), so that
 * every back end fills the same struct. */
#ifndef STORE_JOB_H
#define STORE_JOB_H

#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum job_status {
    JOB_PENDING,
    JOB_PROCESSING,
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_STATUS_COUNT
};
const char *job_status_name(enum job_status s); /* "pending" … */
bool job_status_parse(const char *name, enum job_status *out);

#define JOB_PRIORITY_NORMAL  0
#define JOB_PRIORITY_LOWEST  (-5)
#define JOB_PRIORITY_HIGHEST 4
/* One step is worth so long a wait: nothing waits for ever behind more urgent jobs. */
#define JOB_PRIORITY_STEP_MS 600000

/* How long a job is kept after its end; otherwise a number of days. */
#define JOB_RETAIN_DEFAULT 0    /* as the operator says */
#define JOB_RETAIN_NONE    (-1) /* until the transcript was fetched */
#define JOB_RETAIN_MAX     3650

/* Strings are owned; job_release frees them. */
struct job {
    char id[ID_SIZE];
    enum job_status status;
    int attempt;             /* fences writes: rises with each claim */
    char *caller;            /* whose it is: a key's id; "" when nobody was asked */
    char *original_filename; /* as the caller named it; any UTF-8 */
    char *filename;          /* name in the storage: made by us */
    char *model;             /* asked for, or the default at submission */
    char *language_asked;    /* "auto" or a code */
    char *language;          /* found; NULL before */
    char *task;              /* "transcribe", "translate" */
    char *options;           /* JSON: prompt, temperature …; "{}" when there are none */
    char *transcript_text;   /* NULL before it is completed */
    char *quality;           /* JSON: the report; NULL before, or when there is none */
    char *error_message, *error_code; /* NULL unless failed */
    char *message;                    /* what is going on, for progress displays */
    int64_t created_ms, started_ms, completed_ms; /* 0: not yet */
    int64_t file_bytes;
    double duration_seconds; /* 0 before it is decoded */
    int progress;            /* 0 … 100 */
    bool audio_present;      /* false once the retention has removed the recording */
    int priority;            /* JOB_PRIORITY_LOWEST … _HIGHEST */
    int retain_days;         /* or one of JOB_RETAIN_… */
    bool erased; /* of JOB_RETAIN_NONE: its transcript is gone, as is all it said */
};
/* Frees the strings and clears the struct; NULL is fine. */
void job_release(struct job *j);
/* A deep copy. 0, or ERR_NOMEM with nothing to release. */
int job_copy(struct job *out, const struct job *from);

struct job_list {
    struct job *jobs; /* owned [count]; without transcript_text and quality */
    size_t count;
    int64_t total; /* that match, without limit and offset */
};
void job_list_release(struct job_list *l);

struct job_filter {
    int64_t limit, offset;
    bool by_status;
    enum job_status status;
    const char *search; /* borrowed or NULL: in file names and transcripts */
    const char *caller; /* borrowed; NULL: everybody's */
};

#endif
