/* This process in the table of who works: its row is renewed while it lives, and tells
 * which models it has. Only the supervisor's thread uses one. */
#ifndef JOB_ROSTER_H
#define JOB_ROSTER_H

#include "job/service.h"
#include "store/workers.h"

#include <stdatomic.h>

struct roster {
    struct jobs *jobs; /* borrowed */
    struct store_worker row;
    char *models;          /* owned: all that are here and fit, for claims; may be NULL */
    char *seen;            /* owned: what was here at the last look; may be NULL */
    _Atomic int64_t peers; /* processes with workers, when it was last counted */
    int64_t beat_at_ns, look_at_ns;
    double worked_seconds, audio_seconds; /* of late: the older, the less it counts */
};

/* `owner` is the id that claims are made with. */
void roster_init(struct roster *r, struct jobs *s, const char *owner, size_t concurrency,
                 int threads);
/* It ends in good order: the row goes. */
void roster_leave(struct roster *r);

/* What is due: the row is renewed, those of the dead are removed. */
void roster_mind(struct roster *r, size_t jobs, int64_t now_ns);
/* A job is done that took so long. */
void roster_worked(struct roster *r, double seconds, double audio_seconds);

/* How long to wait before what all processes do in turn is done by this one again: all of
 * them together do it once in `each_ms`, and each at most once in `least_ms`; more or
 * less by chance, so that they do not do it together. */
int64_t roster_pace_ns(const struct roster *r, int64_t least_ms, int64_t each_ms);

/* Which jobs to claim: where others may have other models, only those whose model is
 * here. NULL: any; else it holds until the next call. */
const struct store_wish *roster_wish(struct roster *r, struct store_wish *wish,
                                     int64_t now_ns);

#endif
