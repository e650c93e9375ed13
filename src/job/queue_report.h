/* The queue for operators: what the command line and the doors say of it, from the same
 * figures, and what is done with what has failed. */
#ifndef JOB_QUEUE_REPORT_H
#define JOB_QUEUE_REPORT_H

#include "job/stranded.h"
#include "store/queue_view.h"

#include <jansson.h>

struct jobs;

/* What the figures come to. */
struct queue_estimate {
    /* Audio that is left to do. Lengths that are not known yet are guessed from the
     * bytes, by the mean of the last completed jobs. */
    double waiting_seconds, running_seconds;
    double speed;        /* seconds of audio in one second of a worker; 0: not known */
    int64_t at_once;     /* transcriptions; 0: not known */
    double wait_seconds; /* until all of it is done; negative: not known */
};
/* `at_once`: the transcriptions that all workers do at the same time, 0: not known.
 * When more are running, short ones are done together, and as many are counted. */
void queue_estimate(const struct store_queue_figures *f, int64_t at_once,
                    struct queue_estimate *out);

/* "waiting" (next in turn, or for another time: "delayed", or for its recording:
 * "fetching"), "running", "completed", "failed", "cancelled". */
const char *queue_entry_state(const struct store_queue_entry *x, int64_t now_ms);
/* How long it waited for a worker, or does. */
double queue_entry_waited(const struct store_queue_entry *x, int64_t now_ms);
/* What a job that waits for a worker cannot get, for now: see stranded_reason. */
const char *queue_entry_stranded(const struct store_queue_entry *x,
                                 const struct stranded *st, char out[STRANDED_SIZE]);
/* New references; NULL when memory is out. */
json_t *queue_entry_json(const struct store_queue_entry *x, const struct stranded *st,
                         int64_t now_ms);
json_t *queue_figures_json(const struct store_queue_figures *f, const struct stranded *st,
                           int64_t at_once, int64_t now_ms);

/* Which jobs to list. */
enum queue_part {
    QUEUE_ALIVE, /* running ones, then waiting ones */
    QUEUE_WAITING,
    QUEUE_RUNNING,
    QUEUE_FAILED,
    QUEUE_PART_COUNT
};
/* "waiting", "running", "failed"; false for another word. */
bool queue_part_parse(const char *word, enum queue_part *out);

/* At most `limit` jobs of a part. Release the list. */
int queue_part_list(struct store *s, enum queue_part part, int64_t now_ms, int64_t limit,
                    struct store_queue_list *out, struct err *e);
/* The figures with "jobs", those of the part: a new reference. */
int queue_report(struct store *s, enum queue_part part, int64_t limit, int64_t at_once,
                 json_t **out, struct err *e);

/* ---- dead letters: the jobs that failed, which nobody will take again by himself ----
 */
/* Call `fn` for each that ended before `before_ms`, until one gives an error. */
typedef int (*queue_dead_fn)(void *arg, const char *id, struct err *e);
int queue_each_dead(struct store *s, int64_t before_ms, queue_dead_fn fn, void *arg,
                    struct err *e);
/* Remove them for good, with `forget` for each (NULL: nothing) once its row is gone. */
int queue_purge_dead(struct store *s, int64_t before_ms, queue_dead_fn forget, void *arg,
                     int64_t *count, struct err *e);
/* The same in a service: their recordings go as well. */
int jobs_purge_dead(struct jobs *s, int64_t before_ms, int64_t *count, struct err *e);

#endif
