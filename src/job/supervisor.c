#include "job/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/threads.h"
#include "job/crew.h"
#include "job/models_door.h"
#include "job/held.h"
#include "job/prune.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LEASE_CHECK_NS (5 * SECOND_NS)
/* Leases of others lapse at any time: another machine's job is not to wait for long. */
#define LAPSE_CHECK_MS 1000
#define LAPSE_EACH_MS  50 /* by any of all processes */
#define STUCK_NS       (60 * SECOND_NS)
#define PRUNE_NS       (3600 * SECOND_NS)
#define PRUNE_SOON_NS  (30 * SECOND_NS)
#define LET_GO_NS      (2 * SECOND_NS)
#define CLOSING_NS     (5 * SECOND_NS)
/* What an idle process needs to take a job that it has heard of. */
#define BESIDE_LATER_NS  (INT64_C(30) * 1000000)
#define DYING_TICK_MS    10
#define STOPPING_TICK_MS 50

/* ---- other threads ---- */

void supervisor_wake(struct supervisor *v)
{
    uint64_t one = 1;
    ssize_t n = write(v->bell, &one, sizeof one);
    (void)n; /* full means that it rings already */
}

void supervisor_stop_job(struct supervisor *v, const char *id, int attempt)
{
    pthread_mutex_lock(&v->shared);
    /* Without memory the worker is stopped later, when its next write is refused. */
    if (!mem_grow(&v->stops, &v->stops_capacity, v->n_stops + 1, sizeof *v->stops)) {
        struct stop *s = &v->stops[v->n_stops++];
        memcpy(s->id, id, ID_SIZE);
        s->attempt = attempt;
    }
    pthread_mutex_unlock(&v->shared);
    supervisor_wake(v);
}

struct room *supervisor_room(struct supervisor *v)
{
    return v->room;
}

int supervisor_workers(const struct supervisor *v)
{
    return (int)v->count;
}

int64_t supervisor_peers(const struct supervisor *v)
{
    return v ? atomic_load(&v->roster.peers) : 0;
}

int supervisor_threads(const struct supervisor *v)
{
    return v->context.threads;
}

static int check_seen(const struct supervisor *v, struct err *e)
{
    return clock_monotonic_ns() <= v->seen_ns + STUCK_NS
               ? 0
               : err_set(e, ERR_TIMEOUT,
                         "the supervisor does not respond: look whether the disk of the "
                         "database is stuck");
}

int supervisor_ready(struct supervisor *v, struct err *e)
{
    pthread_mutex_lock(&v->shared);
    int status = v->failing ? err_set(e, ERR_CRASH,
                                      "every worker process dies at once (%s)", v->death)
                            : check_seen(v, e);
    pthread_mutex_unlock(&v->shared);
    return status;
}

int supervisor_alive(struct supervisor *v, struct err *e)
{
    pthread_mutex_lock(&v->shared);
    int status = check_seen(v, e);
    pthread_mutex_unlock(&v->shared);
    return status;
}

/* ---- the loop ---- */

/* A stop is of its attempt, or one before it. */
static void stop_run(struct run *r, const struct stop *s)
{
    if (!r->active || strcmp(r->job.id, s->id) != 0 || r->job.attempt > s->attempt)
        return;
    if (r->end == RUN_GOES_ON)
        log_event(LOG_INFO, s->id, "stopped: it was cancelled, deleted or taken");
    run_set_end(r, RUN_LOST, ERR_CANCELLED, "cancelled");
}

static void take_stops(struct supervisor *v)
{
    pthread_mutex_lock(&v->shared);
    for (size_t i = 0; i < v->n_stops; i++)
        for (size_t k = 0; k < v->count * WORKER_JOBS; k++)
            stop_run(&v->runs[k / WORKER_JOBS][k % WORKER_JOBS], &v->stops[i]);
    v->n_stops = 0;
    pthread_mutex_unlock(&v->shared);
}

static void renew_leases(struct supervisor *v)
{
    models_refresh_default(v->jobs); /* the command line may have changed it */
    for (size_t i = 0; i < v->count; i++)
        for (size_t k = 0; k < WORKER_JOBS; k++)
            run_renew(&v->runs[i][k], &v->context);
}

static void take_back_lapsed(struct supervisor *v)
{
    int64_t count = 0;
    struct err e = {0};
    if (queue_recover(v->jobs->queue, false, &count, &e))
        log_warning("lapsed jobs are not taken back: %s", e.message);
    else if (count)
        log_warning("took back %lld lapsed job(s)", (long long)count);
    if (!count)
        return;
    v->claim_at_ns = 0;
    supervisor_wake(v);
}

/* Renewing comes before taking back, so that no live lease is taken. */
static void mind_leases(struct supervisor *v, int64_t now)
{
    bool shared = store_is_shared(v->jobs->store);
    if (now >= v->leases_at_ns) {
        renew_leases(v);
        v->leases_at_ns = now + LEASE_CHECK_NS;
        v->lapsed_at_ns = now;
    }
    if (now < v->lapsed_at_ns)
        return;
    take_back_lapsed(v);
    v->lapsed_at_ns =
        shared ? now + roster_pace_ns(&v->roster, LAPSE_CHECK_MS, LAPSE_EACH_MS)
               : INT64_MAX;
}

/* The retention, which only those with doors mind. */
static void mind_age(struct supervisor *v, int64_t now)
{
    if (!v->jobs->has_doors)
        return;
    if (pressure_mind(v->jobs, now) || now >= v->prune_at_ns) {
        prune_run(v->jobs);
        v->prune_at_ns = now + PRUNE_NS;
    }
    if (now >= v->let_go_at_ns) {
        jobs_let_go(v->jobs);
        v->let_go_at_ns = now + LET_GO_NS;
    }
    if (now >= v->prune_soon_at_ns)
        v->prune_soon_at_ns = now + (prune_soon(v->jobs) ? SECOND_NS : PRUNE_SOON_NS);
}

static size_t count_jobs(const struct supervisor *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->count; i++)
        n += crew_count(v, i);
    return n;
}

static void publish(struct supervisor *v)
{
    bool failing = v->count > 0;
    const char *death = "";
    for (size_t i = 0; i < v->count; i++) {
        failing &= slot_fails(&v->slots[i], clock_monotonic_ns());
        death = v->slots[i].death;
    }
    pthread_mutex_lock(&v->shared);
    v->failing = failing;
    v->seen_ns = clock_monotonic_ns();
    (void)snprintf(v->death, sizeof v->death, "%s", death);
    pthread_mutex_unlock(&v->shared);
}

/* Who is idle takes what has come. Who is not, and could do it beside something else,
 * leaves it to an idle one elsewhere for a moment, unless the queue knows whom it wakes.
 */
static void hear_the_bell(struct supervisor *v)
{
    bool others = store_is_shared(v->jobs->store) && !queue_wakes_one(v->jobs->queue);
    v->claim_at_ns = 0;
    v->beside_at_ns = others ? clock_monotonic_ns() + BESIDE_LATER_NS : 0;
}

static void wait_for_news(struct supervisor *v)
{
    struct pollfd p[MAX_WORKERS + 2];
    int timeout = (int)crew_tick_ms(v, clock_monotonic_ns());
    p[0] = (struct pollfd){.fd = v->bell, .events = POLLIN};
    p[1] = (struct pollfd){.fd = queue_fd(v->jobs->queue), .events = POLLIN};
    for (size_t i = 0; i < v->count; i++) {
        p[i + 2] = (struct pollfd){.fd = v->slots[i].fd, .events = POLLIN};
        if (v->slots[i].state == SLOT_DYING)
            timeout = DYING_TICK_MS;
        else if (timeout > STOPPING_TICK_MS && crew_stopping(v, i))
            timeout = STOPPING_TICK_MS;
    }
    int64_t later_ns = v->beside_at_ns - clock_monotonic_ns();
    if (later_ns > 0 && later_ns < timeout * INT64_C(1000000))
        timeout = (int)(later_ns / 1000000) + 1;
    (void)poll(p, (nfds_t)v->count + 2, timeout);
    if (p[1].revents)
        hear_the_bell(v);
    uint64_t rings;
    ssize_t n = read(v->bell, &rings, sizeof rings);
    (void)n;
    queue_clear(v->jobs->queue);
}

static void *run(void *arg)
{
    struct supervisor *v = arg;
    while (!atomic_load(&v->closing)) {
        take_stops(v);
        for (size_t i = 0; i < v->count; i++)
            crew_tend(v, i);
        int64_t now = clock_monotonic_ns();
        room_mind(v->room, now);
        mind_leases(v, now);
        roster_mind(&v->roster, count_jobs(v), now);
        mind_age(v, now);
        stranded_mind(&v->stranded, v->jobs, now);
        publish(v);
        events_deliver(v->jobs->events);
        wait_for_news(v);
    }
    return NULL;
}

/* Every worker ends; what was heard is saved, what was running goes back. */
static void drain(struct supervisor *v)
{
    int64_t until = clock_monotonic_ns() + CLOSING_NS;
    for (size_t i = 0; i < v->count; i++) {
        crew_hear(v, i);
        for (size_t k = 0; k < WORKER_JOBS; k++)
            run_set_end(&v->runs[i][k], RUN_RETURNED, ERR_CANCELLED, "the service ends");
        slot_kill(&v->slots[i]);
    }
    bool left = true;
    while (left && clock_monotonic_ns() < until) {
        left = false;
        for (size_t i = 0; i < v->count; i++) {
            if (v->slots[i].state == SLOT_DYING)
                crew_bury(v, i, 0);
            for (size_t k = 0; k < WORKER_JOBS; k++)
                run_save(&v->runs[i][k], &v->context, clock_monotonic_ns());
            left |= v->slots[i].state == SLOT_DYING || crew_count(v, i) > 0;
        }
        struct timespec pause = {.tv_nsec = 2000000};
        if (left)
            nanosleep(&pause, NULL);
    }
    events_deliver(v->jobs->events);
}

/* ---- start and end ---- */

/* As many transcriptions at once, and threads for each, as use every processor: a few
 * workers of several threads, because memory grows with workers. */
static void size_up(struct supervisor *v)
{
    const struct config *c = v->jobs->config;
    int cpus = threads_available();
    int64_t workers = c->worker_concurrency, threads = c->worker_threads;
    if (workers <= 0)
        workers = threads > 0 ? cpus / threads : cpus / 4 < 4 ? cpus / 4 : 4;
    if (workers < 1 || !v->jobs->has_workers)
        workers = 1; /* without any, a transcription counts as it would with one */
    if (workers > MAX_WORKERS)
        workers = MAX_WORKERS;
    if (threads <= 0)
        threads = cpus / workers;
    v->count = v->jobs->has_workers ? (size_t)workers : 0;
    v->context.threads = threads < 1 ? 1 : (int)threads;
}

int supervisor_start(struct supervisor **out, struct jobs *s, struct err *e)
{
    struct supervisor *v = calloc(1, sizeof *v);
    if (!v)
        return err_set(e, ERR_NOMEM, "out of memory");
    v->jobs = s;
    pthread_mutex_init(&v->shared, NULL);
    size_up(v);
    for (size_t i = 0; i < v->count; i++)
        slot_init(&v->slots[i]);
    id_new(v->owner);
    v->seen_ns = clock_monotonic_ns();
    v->leases_at_ns = v->seen_ns + LEASE_CHECK_NS;
    v->lapsed_at_ns = INT64_MAX; /* whoever is dead was seen to when the store opened */
    v->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = v->bell < 0 ? err_errno(e, "cannot make a doorbell") : 0;
    if (!status)
        status = models_new(&v->models, e);
    if (!status)
        status = room_new(&v->room, s->config, v->models, v->context.threads, crew_unload,
                          v, e);
    v->context.jobs = s;
    v->context.models = v->models;
    v->context.owner = v->owner;
    roster_init(&v->roster, s, v->owner, v->count, v->context.threads);
    *out = v; /* before the thread begins, which may come back to it */
    if (!status) {
        errno = pthread_create(&v->thread, NULL, run, v);
        v->started = !errno;
        status = errno ? err_errno(e, "cannot start a thread") : 0;
    }
    if (status) {
        supervisor_close(v);
        *out = NULL;
        return status;
    }
    if (v->count)
        log_info("%zu worker(s) of %d thread(s), known as %s on %s", v->count,
                 v->context.threads, v->owner, v->roster.row.host);
    else
        log_info("no workers here: EMBEDDED_WORKERS is off");
    return 0;
}

void supervisor_close(struct supervisor *v)
{
    if (!v)
        return;
    if (v->started) {
        atomic_store(&v->closing, true);
        supervisor_wake(v);
        pthread_join(v->thread, NULL);
        drain(v);
    }
    roster_leave(&v->roster);
    stranded_watch_release(&v->stranded);
    room_free(v->room);
    models_free(v->models);
    if (v->bell >= 0)
        close(v->bell);
    pthread_mutex_destroy(&v->shared);
    free(v->stops);
    free(v);
}
