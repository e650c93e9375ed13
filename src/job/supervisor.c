#include "job/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/threads.h"
#include "job/models.h"
#include "job/models_door.h"
#include "job/prune.h"
#include "job/room.h"
#include "job/run.h"
#include "job/slot.h"
#include "job/worker.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SECOND_NS        INT64_C(1000000000)
#define START_LIMIT_NS   (60 * SECOND_NS)     /* for a worker to say that it is there */
#define CANCEL_NS        (SECOND_NS * 9 / 10) /* for a job to stop by itself … */
#define CANCEL_BESIDE_NS (30 * SECOND_NS) /* … where others would be ended with it */
#define LEASE_CHECK_NS   (5 * SECOND_NS)
#define CLAIM_RETRY_NS   (2 * SECOND_NS)
#define STUCK_NS         (60 * SECOND_NS)
#define PRUNE_NS         (3600 * SECOND_NS)
#define PRUNE_SOON_NS    (30 * SECOND_NS)
#define CLOSING_NS       (5 * SECOND_NS)
#define TICK_MS          500
#define DYING_TICK_MS    10
#define STOPPING_TICK_MS 50
#define MESSAGES_AT_ONCE 32
#define MAX_WORKERS      ROOM_SLOTS
/* Deaths in a row, of every worker, after which the service calls itself not ready. */
#define DEATHS_UNREADY 3

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
    int64_t leases_at_ns, claim_at_ns, beside_at_ns, prune_at_ns, prune_soon_at_ns;

    pthread_mutex_t shared; /* guards what follows */
    struct stop *stops;     /* owned [n_stops]: asked for by other threads */
    size_t n_stops, stops_capacity;
    bool failing;    /* every worker keeps dying */
    int64_t seen_ns; /* when the loop last came round */
    char death[sizeof((struct slot *)0)->death];
};

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

int supervisor_threads(const struct supervisor *v)
{
    return v->context.threads;
}

int supervisor_ready(struct supervisor *v, struct err *e)
{
    pthread_mutex_lock(&v->shared);
    int status = 0;
    if (v->failing)
        status =
            err_set(e, ERR_CRASH, "every worker process dies at once (%s)", v->death);
    else if (clock_monotonic_ns() > v->seen_ns + STUCK_NS)
        status = err_set(e, ERR_TIMEOUT,
                         "the supervisor does not respond: look whether the disk of the "
                         "database is stuck");
    pthread_mutex_unlock(&v->shared);
    return status;
}

/* ---- workers ---- */

static void take_stops(struct supervisor *v)
{
    pthread_mutex_lock(&v->shared);
    for (size_t i = 0; i < v->n_stops; i++)
        for (size_t k = 0; k < v->count * WORKER_JOBS; k++) {
            struct run *r = &v->runs[k / WORKER_JOBS][k % WORKER_JOBS];
            if (r->active && !strcmp(r->job.id, v->stops[i].id) &&
                r->job.attempt <= v->stops[i].attempt)
                run_set_end(r, RUN_LOST, ERR_CANCELLED, "cancelled");
        }
    v->n_stops = 0;
    pthread_mutex_unlock(&v->shared);
}

static size_t count_active(const struct supervisor *v, size_t i)
{
    size_t n = 0;
    for (size_t k = 0; k < WORKER_JOBS; k++)
        n += v->runs[i][k].active;
    return n;
}

static bool is_working(const struct run *r)
{
    return r->active && r->working;
}

static bool any_working(const struct supervisor *v, size_t i)
{
    for (size_t k = 0; k < WORKER_JOBS; k++)
        if (is_working(&v->runs[i][k]))
            return true;
    return false;
}

static struct run *find_run(struct supervisor *v, size_t i, const struct message *m)
{
    for (size_t k = 0; k < WORKER_JOBS; k++) {
        struct run *r = &v->runs[i][k];
        if (is_working(r) && !strcmp(m->job_id, r->job.id) &&
            m->attempt == r->job.attempt)
            return r;
    }
    return NULL;
}

/* A worker that breaks the protocol is not to be trusted with anything. */
static int hear_one(struct supervisor *v, size_t i, struct message *m, struct err *e)
{
    struct slot *s = &v->slots[i];
    if (m->type == MESSAGE_READY) {
        if (s->state != SLOT_STARTING)
            return err_set(e, ERR_CORRUPT, "the worker spoke out of turn");
        s->state = SLOT_IDLE;
        return 0;
    }
    if (m->type == MESSAGE_MODEL) {
        models_loaded(v->models, (int)i, m->serial, m->fds[0]);
        m->n_fds = 0;
        return 0;
    }
    struct run *r = find_run(v, i, m);
    if (!r)
        return err_set(e, ERR_CORRUPT, "the worker speaks of a job that it has not got");
    int status = run_hear(r, m, e);
    if (!status && !r->working) {
        room_end(v->room, (int)i, r->serial, clock_monotonic_ns());
        models_released(v->models, (int)i);
        s->state = any_working(v, i) ? SLOT_BUSY : SLOT_IDLE;
        s->deaths = 0;
    }
    return status;
}

static void hear(struct supervisor *v, size_t i)
{
    struct slot *s = &v->slots[i];
    for (int n = 0; s->fd >= 0 && n < MESSAGES_AT_ONCE; n++) {
        struct message m;
        struct err e = {0};
        int status = message_receive(s->fd, &m, false, &e);
        if (status == 0)
            return;
        if (status > 0) {
            status = hear_one(v, i, &m, &e);
            message_release(&m);
        }
        if (status < 0) {
            if (status != ERR_NETWORK)
                log_error("worker %zu is ended: %s", i, e.message);
            slot_kill(s);
        }
    }
}

static void bury(struct supervisor *v, size_t i, int64_t now)
{
    struct slot *s = &v->slots[i];
    bool busy = any_working(v, i);
    if (busy)
        s->deaths = 0; /* a job's doing, not the worker's */
    if (!slot_reap(s, now))
        return;
    models_released(v->models, (int)i);
    room_slot_gone(v->room, (int)i);
    if (!busy && !atomic_load(&v->closing) && count_active(v, i) == 0)
        log_warning("an idle worker died: %s", s->death);
    /* Any of them may have crashed it: the next time each is alone. */
    for (size_t k = 0; k < WORKER_JOBS; k++) {
        struct run *r = &v->runs[i][k];
        if (!is_working(r))
            continue;
        r->working = false;
        run_set_end(r, RUN_CRASHED, ERR_CRASH, "%s", s->death);
    }
}

/* End a worker because of one of its jobs: the others go back. */
static void kill_for(struct supervisor *v, size_t i, const struct run *guilty)
{
    for (size_t k = 0; k < WORKER_JOBS; k++)
        if (is_working(&v->runs[i][k]) && &v->runs[i][k] != guilty)
            run_set_end(&v->runs[i][k], RUN_RETURNED, ERR_CANCELLED,
                        "another job of its worker did not stop");
    slot_kill(&v->slots[i]);
}

/* How long a job may take to stop: beside others, the processor is theirs anyway, and
 * they would lose what they did since their last checkpoint. */
static int64_t patience(const struct supervisor *v, size_t i)
{
    size_t working = 0;
    for (size_t k = 0; k < WORKER_JOBS; k++)
        working += is_working(&v->runs[i][k]) && v->runs[i][k].end == RUN_GOES_ON;
    return working ? CANCEL_BESIDE_NS : CANCEL_NS;
}

/* Ends what runs too long or was asked to stop. */
static void mind_limit(struct supervisor *v, size_t i, struct run *r, int64_t now)
{
    struct slot *s = &v->slots[i];
    if (!is_working(r) || s->state != SLOT_BUSY)
        return;
    if (r->end == RUN_GOES_ON && now > r->deadline_ns)
        run_set_end(r, RUN_FAILED, ERR_TIMEOUT,
                    "the transcription took longer than %lld seconds, the limit here "
                    "(CELERY_TASK_TIME_LIMIT)",
                    (long long)v->jobs->config->time_limit_seconds);
    if (r->end != RUN_GOES_ON && !r->asked_ns) {
        struct message m = {.type = MESSAGE_CANCEL, .attempt = r->job.attempt};
        memcpy(m.job_id, r->job.id, ID_SIZE);
        (void)message_send(s->fd, &m, false, NULL);
        r->asked_ns = now;
    } else if (r->asked_ns && now > r->asked_ns + patience(v, i)) {
        kill_for(v, i, r);
    }
}

static void mind_limits(struct supervisor *v, size_t i, int64_t now)
{
    struct slot *s = &v->slots[i];
    if (s->state == SLOT_STARTING && now > s->started_ns + START_LIMIT_NS) {
        log_error("worker %zu does not come up and is ended", i);
        slot_kill(s);
    }
    for (size_t k = 0; k < WORKER_JOBS; k++)
        mind_limit(v, i, &v->runs[i][k], now);
}

/* One that works is heard at once; one that loads would hear only when it has loaded. */
static bool unload(void *arg, int slot, int64_t serial)
{
    struct supervisor *v = arg;
    const struct slot *s = &v->slots[slot];
    const struct message m = {.type = MESSAGE_UNLOAD, .serial = serial};
    return s->state == SLOT_IDLE && s->fd >= 0 && !message_send(s->fd, &m, false, NULL);
}

/* Whether the memory has room for a job in a slot. If it never has, the job ends; what
 * else may be wrong with its model, run_send and the worker say. */
static bool has_room(struct supervisor *v, size_t i, struct run *r,
                     struct whisper_memory *need)
{
    struct err e = {0};
    int fits = room_ask(v->room, (int)i, r->job.model, r->job.options, need, &e);
    if (fits == ERR_TOO_LARGE)
        run_set_end(r, RUN_FAILED, fits, "%s", e.message);
    if (fits == 0 && !r->waits)
        log_event(LOG_INFO, r->job.id, "waits until the memory has room for %s",
                  r->job.model);
    r->waits = fits == 0;
    return fits != 0 && fits != ERR_TOO_LARGE;
}

/* Give a claimed job to its worker. */
static void dispatch(struct supervisor *v, size_t i, struct run *r, int64_t now)
{
    struct slot *s = &v->slots[i];
    struct err e = {0};
    if (!r->active || r->sent || r->end != RUN_GOES_ON ||
        (s->state != SLOT_IDLE && s->state != SLOT_BUSY))
        return;
    struct whisper_memory need;
    if (!has_room(v, i, r, &need))
        return;
    int status = run_send(r, &v->context, (int)i, s->fd, now, &e);
    if (status < 0) {
        run_set_end(r, RUN_RETURNED, status, "%s", e.message);
        kill_for(v, i, r);
    } else if (r->working) {
        room_begin(v->room, (int)i, r->serial, &need, now);
        s->state = SLOT_BUSY;
    }
}

static void start_missing(struct supervisor *v, size_t i, int64_t now)
{
    struct slot *s = &v->slots[i];
    struct err e = {0};
    if (s->state == SLOT_EMPTY && now >= s->start_at_ns && slot_start(s, now, &e))
        log_error("worker %zu: %s", i, e.message);
}

static bool any_free_worker(const struct supervisor *v)
{
    for (size_t i = 0; i < v->count; i++)
        if ((v->slots[i].state == SLOT_IDLE || v->slots[i].state == SLOT_STARTING) &&
            count_active(v, i) == 0)
            return true;
    return false;
}

/* What may be done beside the jobs of a worker; false: nothing. */
static bool may_be_beside(const struct supervisor *v, size_t i, struct store_wish *wish)
{
    *wish = (struct store_wish){.most_bytes = QUEUE_BESIDE_BYTES};
    if (v->slots[i].state != SLOT_BUSY || any_free_worker(v))
        return false;
    for (size_t k = 0; k < WORKER_JOBS; k++) {
        const struct run *r = &v->runs[i][k];
        if (!r->active)
            continue;
        if (r->job.attempt > 1 || r->end != RUN_GOES_ON)
            return false;
        wish->model = r->job.model;
    }
    return wish->model != NULL;
}

/* A worker that has nothing to do takes what is next; one that has, what goes well with
 * it, and so shares the decoder's steps: short jobs do not wait for a long one. */
static bool claim(struct supervisor *v, size_t i, int64_t now)
{
    struct store_wish wish;
    struct err e = {0};
    struct run *r = v->runs[i];
    bool alone = v->slots[i].state == SLOT_IDLE && count_active(v, i) == 0;
    int64_t *at_ns = alone ? &v->claim_at_ns : &v->beside_at_ns;
    if (now < *at_ns || (!alone && !may_be_beside(v, i, &wish)))
        return false;
    while (r < v->runs[i] + WORKER_JOBS && r->active)
        r++;
    if (r == v->runs[i] + WORKER_JOBS)
        return false;
    int status = run_claim(r, &v->context, alone ? NULL : &wish, &e);
    if (!status)
        return true;
    if (status != ERR_NOT_FOUND)
        log_error("no job can be taken from the queue: %s", e.message);
    /* Nothing is due: look again when the bell rings, or in a while. */
    *at_ns = now + (status == ERR_NOT_FOUND ? TICK_MS * 1000000 : CLAIM_RETRY_NS);
    return false;
}

static void tend(struct supervisor *v, size_t i)
{
    int64_t now = clock_monotonic_ns();
    hear(v, i);
    if (v->slots[i].state == SLOT_DYING)
        bury(v, i, now);
    for (size_t k = 0; k < WORKER_JOBS; k++)
        run_save(&v->runs[i][k], &v->context, now);
    mind_limits(v, i, now);
    start_missing(v, i, now);
    do
        for (size_t k = 0; k < WORKER_JOBS; k++)
            dispatch(v, i, &v->runs[i][k], now);
    while (claim(v, i, now));
}

/* ---- the loop ---- */

/* Renewing comes before taking back, so that no live lease is taken. */
static void mind_leases(struct supervisor *v)
{
    int64_t count = 0;
    struct err e = {0};
    models_refresh_default(v->jobs); /* the command line may have changed it */
    for (size_t i = 0; i < v->count; i++)
        for (size_t k = 0; k < WORKER_JOBS; k++)
            run_renew(&v->runs[i][k], &v->context);
    if (queue_recover(v->jobs->queue, false, &count, &e))
        log_warning("lapsed jobs are not taken back: %s", e.message);
    else if (count)
        log_warning("took back %lld lapsed job(s)", (long long)count);
}

static void publish(struct supervisor *v)
{
    bool failing = true;
    const char *death = "";
    for (size_t i = 0; i < v->count; i++) {
        failing &= v->slots[i].deaths >= DEATHS_UNREADY;
        death = v->slots[i].death;
    }
    pthread_mutex_lock(&v->shared);
    v->failing = failing;
    v->seen_ns = clock_monotonic_ns();
    (void)snprintf(v->death, sizeof v->death, "%s", death);
    pthread_mutex_unlock(&v->shared);
}

/* Whether a worker was asked to stop a job, and has not yet. */
static bool any_stopping(const struct supervisor *v, size_t i)
{
    for (size_t k = 0; k < WORKER_JOBS; k++)
        if (is_working(&v->runs[i][k]) && v->runs[i][k].asked_ns)
            return true;
    return false;
}

static void wait_for_news(struct supervisor *v)
{
    struct pollfd p[MAX_WORKERS + 2];
    int timeout = TICK_MS;
    p[0] = (struct pollfd){.fd = v->bell, .events = POLLIN};
    p[1] = (struct pollfd){.fd = queue_fd(v->jobs->queue), .events = POLLIN};
    for (size_t i = 0; i < v->count; i++) {
        p[i + 2] = (struct pollfd){.fd = v->slots[i].fd, .events = POLLIN};
        if (v->slots[i].state == SLOT_DYING)
            timeout = DYING_TICK_MS;
        else if (timeout > STOPPING_TICK_MS && any_stopping(v, i))
            timeout = STOPPING_TICK_MS;
    }
    (void)poll(p, (nfds_t)v->count + 2, timeout);
    if (p[1].revents)
        v->claim_at_ns = v->beside_at_ns = 0;
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
            tend(v, i);
        int64_t now = clock_monotonic_ns();
        room_mind(v->room, now);
        if (now >= v->leases_at_ns) {
            mind_leases(v);
            v->leases_at_ns = now + LEASE_CHECK_NS;
        }
        if (now >= v->prune_at_ns) {
            prune_run(v->jobs);
            v->prune_at_ns = now + PRUNE_NS;
        }
        if (now >= v->prune_soon_at_ns)
            v->prune_soon_at_ns = now + (prune_soon(v->jobs) ? SECOND_NS : PRUNE_SOON_NS);
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
        hear(v, i);
        for (size_t k = 0; k < WORKER_JOBS; k++)
            run_set_end(&v->runs[i][k], RUN_RETURNED, ERR_CANCELLED, "the service ends");
        slot_kill(&v->slots[i]);
    }
    bool left = true;
    while (left && clock_monotonic_ns() < until) {
        left = false;
        for (size_t i = 0; i < v->count; i++) {
            if (v->slots[i].state == SLOT_DYING)
                bury(v, i, 0);
            for (size_t k = 0; k < WORKER_JOBS; k++)
                run_save(&v->runs[i][k], &v->context, clock_monotonic_ns());
            left |= v->slots[i].state == SLOT_DYING || count_active(v, i) > 0;
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
    if (workers < 1)
        workers = 1;
    if (workers > MAX_WORKERS)
        workers = MAX_WORKERS;
    if (threads <= 0)
        threads = cpus / workers;
    v->count = (size_t)workers;
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
    v->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = v->bell < 0 ? err_errno(e, "cannot make a doorbell") : 0;
    if (!status)
        status = models_new(&v->models, e);
    if (!status)
        status =
            room_new(&v->room, s->config, v->models, v->context.threads, unload, v, e);
    v->context.jobs = s;
    v->context.models = v->models;
    v->context.owner = v->owner;
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
    log_info("%zu worker(s) of %d thread(s)", v->count, v->context.threads);
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
    room_free(v->room);
    models_free(v->models);
    if (v->bell >= 0)
        close(v->bell);
    pthread_mutex_destroy(&v->shared);
    free(v->stops);
    free(v);
}
