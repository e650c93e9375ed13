/* The workers and what each has to do, as the supervisor's thread tends them. Private to
 * the supervisor (supervisor.c), of which this is the half that looks at one worker. */
#ifndef JOB_CREW_H
#define JOB_CREW_H

#include "job/models.h"
#include "job/room.h"
#include "job/roster.h"
#include "job/run.h"
#include "job/slot.h"
#include "job/stranded.h"
#include "job/supervisor.h"
#include "job/worker.h"

#include <stdatomic.h>

#define SECOND_NS   INT64_C(1000000000)
#define TICK_MS     500 /* the loop comes round so often, at least */
#define MAX_WORKERS ROOM_SLOTS

struct stop {
    char id[ID_SIZE];
    int attempt;
};

struct supervisor {
    struct jobs *jobs;     /* borrowed */
    struct models *models; /* owned */
    struct room *room;     /* owned */
    pthread_t thread;
    bool started;
    int bell; /* owned eventfd */
    atomic_bool closing;
    char owner[ID_SIZE];
    struct run_context context;

    size_t count; /* of workers */
    struct slot slots[MAX_WORKERS];
    struct run runs[MAX_WORKERS][WORKER_JOBS]; /* runs[i] are the jobs of slots[i] */
    struct roster roster;
    struct stranded_watch stranded;
    int64_t restless_until_ns; /* jobs that have crashed are due in a moment */
    int64_t leases_at_ns, lapsed_at_ns, claim_at_ns, beside_at_ns, prune_at_ns,
        prune_soon_at_ns, let_go_at_ns;

    pthread_mutex_t shared; /* guards what follows */
    struct stop *stops;     /* owned [n_stops]: asked for by other threads */
    size_t n_stops, stops_capacity;
    bool failing;    /* every worker keeps dying */
    int64_t seen_ns; /* when the loop last came round */
    char death[sizeof((struct slot *)0)->death];
};

/* What a worker has said. One that breaks the protocol is ended. */
void crew_hear(struct supervisor *v, size_t i);
/* One that was ended, once it has: what becomes of its jobs. */
void crew_bury(struct supervisor *v, size_t i, int64_t now);
/* All that a worker needs at this moment: heard, limited, started, given jobs. */
void crew_tend(struct supervisor *v, size_t i);
/* In which time the loop comes round, at least. */
int64_t crew_tick_ms(const struct supervisor *v, int64_t now_ns);
/* Jobs of a worker that are not written back yet. */
size_t crew_count(const struct supervisor *v, size_t i);
/* Whether a worker was asked to stop a job, and has not yet. */
bool crew_stopping(const struct supervisor *v, size_t i);
/* For the room: ask a worker to let a model go. One that works is heard at once; one that
 * loads would hear only when it has loaded. */
bool crew_unload(void *arg, int slot, int64_t serial);

#endif
