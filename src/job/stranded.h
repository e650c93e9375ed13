/* Jobs that wait for a model which no worker that is alive has: they would wait in
 * silence. Where one service has a database to itself there are none: it takes every job,
 * and says what is wrong with it. Any thread. */
#ifndef JOB_STRANDED_H
#define JOB_STRANDED_H

#include "job/jobs.h"
#include "store/queue_view.h"

#define STRANDED_SIZE 320

/* Which models the living workers have. */
struct stranded {
    char *names;  /* owned: with a comma before and behind each */
    bool anybody; /* is alive */
    bool all;     /* any model may be there: one service alone, or a row that was cut */
};
void stranded_release(struct stranded *st);

/* ERR_AWAY and the like: what the store says. Release it. */
int stranded_look(struct store *s, struct stranded *out, struct err *e);
/* What a job of this model waits for, as a sentence without its full stop; NULL when a
 * worker can take it. */
const char *stranded_reason(const struct stranded *st, const char *model,
                            char out[STRANDED_SIZE]);
/* How many jobs that wait are stranded, as far as the figures tell models apart. */
int64_t stranded_count(const struct stranded *st, const struct store_queue_figures *f);

/* The reason for a job of a service, NULL for one that does not wait for a worker. What
 * the workers have may have been seen two seconds ago. */
const char *jobs_stranded(struct jobs *s, const struct job *j, char out[STRANDED_SIZE]);

/* A warning for each model, when it begins to be missing. Of the supervisor's thread. */
struct stranded_watch {
    int64_t look_at_ns;
    char *warned; /* owned: of which it was said, with a comma before and behind each */
};
void stranded_mind(struct stranded_watch *w, struct jobs *s, int64_t now_ns);
void stranded_watch_release(struct stranded_watch *w);

#endif
