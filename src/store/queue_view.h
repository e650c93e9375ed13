/* The queue as an operator looks at it: who waits and in which order, who is at work,
 * what has failed, and the figures that tell how many machines are wanted. */
#ifndef STORE_QUEUE_VIEW_H
#define STORE_QUEUE_VIEW_H

#include "store/store.h"

/* So many of the last completed jobs are measured. */
#define STORE_QUEUE_RECENT 50
/* At most so many different reasons of failures are told apart. */
#define STORE_QUEUE_REASONS 32
/* And of models that jobs wait for. */
#define STORE_QUEUE_MODELS 64

struct store_queue_entry {
    char id[ID_SIZE];
    enum job_status status;
    int attempt, crashes, priority, progress;
    int64_t position; /* in the order of claims, the next one is 1; 0: not in the line */
    bool fetching;    /* its recording is not here yet */
    int64_t created_ms, started_ms, completed_ms; /* 0: not yet */
    int64_t run_after_ms;                         /* not to be taken before */
    int64_t file_bytes;
    double duration_seconds; /* 0: not known yet */
    double done_seconds;     /* of it, what is transcribed already */
    /* Owned texts, none of them NULL: */
    char *owner; /* the process that has it, "": none */
    char *filename, *model, *caller, *message;
    char *error_code, *error_message; /* "" unless failed */
};
void store_queue_entry_release(struct store_queue_entry *x);

struct store_queue_list {
    struct store_queue_entry *entries; /* owned [count] */
    size_t count;
};
void store_queue_list_release(struct store_queue_list *l);

/* Jobs of one state, of all callers. */
struct store_queue_figures {
    int64_t jobs[JOB_STATUS_COUNT];
    int64_t oldest_ms; /* when the oldest job was made that could be taken; 0: none */
    /* What is left to do: seconds where the length is known, else bytes. */
    double waiting_seconds, running_seconds;
    int64_t waiting_bytes, running_bytes;
    /* The last STORE_QUEUE_RECENT completed jobs: */
    int64_t recent_jobs, recent_bytes;
    double recent_audio_seconds, recent_work_seconds;
    /* Failed jobs by their error_code, the most frequent first. */
    struct {
        char code[48];
        int64_t jobs;
    } failures[STORE_QUEUE_REASONS];
    size_t n_failures;
    /* Jobs that wait, by their model, the most frequent first. */
    struct {
        char name[128];
        int64_t jobs;
    } models[STORE_QUEUE_MODELS];
    size_t n_models;
};

struct store_queue_ops {
    int (*list)(struct store *s, enum job_status status, int64_t now_ms, int64_t limit,
                struct store_queue_list *out, struct err *e);
    int (*entry)(struct store *s, const char *id, int64_t now_ms,
                 struct store_queue_entry *out, struct err *e);
    int (*figures)(struct store *s, int64_t now_ms, struct store_queue_figures *out,
                   struct err *e);
    int (*dead)(struct store *s, int64_t before_ms, const char *after,
                char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e);
    int (*purge)(struct store *s, int64_t before_ms, char (*ids)[ID_SIZE], size_t max,
                 size_t *count, struct err *e);
};
extern const struct store_queue_ops sqlite_queue_ops; /* sqlite_queue_view.c */
extern const struct store_queue_ops pg_queue_ops;     /* pg_queue_view.c */

/* At most `limit` jobs: pending ones in the order of claims, processing ones by their
 * beginning, others by their end, the last one first. Release the list. */
static inline int store_queue_list(struct store *s, enum job_status status,
                                   int64_t now_ms, int64_t limit,
                                   struct store_queue_list *out, struct err *e)
{
    return s->ops->queue->list(s, status, now_ms, limit, out, e);
}

/* One job, whatever its state. ERR_NOT_FOUND; `out` is filled on success only. */
static inline int store_queue_entry(struct store *s, const char *id, int64_t now_ms,
                                    struct store_queue_entry *out, struct err *e)
{
    return s->ops->queue->entry(s, id, now_ms, out, e);
}

/* All of them as of one moment. */
static inline int store_queue_figures(struct store *s, int64_t now_ms,
                                      struct store_queue_figures *out, struct err *e)
{
    return s->ops->queue->figures(s, now_ms, out, e);
}

/* Ids of at most `max` failed jobs that ended before `before_ms`, rising, those above
 * `after` ("": all). */
static inline int store_queue_dead(struct store *s, int64_t before_ms, const char *after,
                                   char (*ids)[ID_SIZE], size_t max, size_t *count,
                                   struct err *e)
{
    return s->ops->queue->dead(s, before_ms, after, ids, max, count, e);
}

/* Remove the rows of at most `max` such jobs, as they are at this moment: one that is
 * tried again meanwhile stays. `ids` are those that went; their recordings are the
 * caller's to remove. */
static inline int store_queue_purge(struct store *s, int64_t before_ms,
                                    char (*ids)[ID_SIZE], size_t max, size_t *count,
                                    struct err *e)
{
    return s->ops->queue->purge(s, before_ms, ids, max, count, e);
}

#endif
