/* Who works: a row for each process that has workers, renewed while it lives. Nothing is
 * decided by them but what people and monitors are told; jobs are held by leases. */
#ifndef STORE_WORKERS_H
#define STORE_WORKERS_H

#include "store/store.h"

#define STORE_WORKER_MODELS 1024

struct store_worker {
    char id[ID_SIZE]; /* the owner of its claims */
    char host[80];
    char version[32];
    char models[STORE_WORKER_MODELS]; /* names with commas between, as many as fit */
    int64_t pid;                      /* on that host */
    bool embedded;                    /* in a `serve` */
    int threads;                      /* of each transcription */
    int concurrency;                  /* transcriptions at once */
    int jobs;                         /* that it has now */
    double real_time_factor; /* seconds of work for a second of audio, of late; 0: not
                                known yet */
    int64_t started_ms;
    int64_t silent_ms; /* since its row was renewed; set by the store */
};

struct store_worker_list {
    struct store_worker *workers; /* owned [count] */
    size_t count;
};
void store_worker_list_release(struct store_worker_list *l);

struct store_workers_ops {
    int (*beat)(struct store *s, const struct store_worker *w, int64_t now_ms,
                struct err *e);
    int (*list)(struct store *s, int64_t now_ms, struct store_worker_list *out,
                struct err *e);
    int (*remove)(struct store *s, const char *id, struct err *e);
    int (*trim)(struct store *s, int64_t now_ms, int64_t silent_ms, struct err *e);
    int (*count)(struct store *s, int64_t *out, struct err *e);
};

/* Write or renew a row. Where machines share a server, its clock counts, and not theirs
 * (now_ms), which may differ. */
static inline int store_worker_beat(struct store *s, const struct store_worker *w,
                                    int64_t now_ms, struct err *e)
{
    return s->ops->workers->beat(s, w, now_ms, e);
}

/* All rows, those that began first before the others. Release the list. */
static inline int store_worker_list(struct store *s, int64_t now_ms,
                                    struct store_worker_list *out, struct err *e)
{
    return s->ops->workers->list(s, now_ms, out, e);
}

/* It ends in good order. None of that id: 0, too. */
static inline int store_worker_remove(struct store *s, const char *id, struct err *e)
{
    return s->ops->workers->remove(s, id, e);
}

/* Remove the rows of those that were silent for longer than silent_ms. */
static inline int store_worker_trim(struct store *s, int64_t now_ms, int64_t silent_ms,
                                    struct err *e)
{
    return s->ops->workers->trim(s, now_ms, silent_ms, e);
}

/* How many rows there are, those of the dead among them. Cheap. */
static inline int store_worker_count(struct store *s, int64_t *out, struct err *e)
{
    return s->ops->workers->count(s, out, e);
}

#endif
