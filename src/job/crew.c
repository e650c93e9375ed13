#include "job/crew.h"

#include "base/clock.h"
#include "base/log.h"

#define START_LIMIT_NS   (60 * SECOND_NS)     /* for a worker to say that it is there */
#define CANCEL_NS        (SECOND_NS * 9 / 10) /* for a job to stop by itself … */
#define CANCEL_BESIDE_NS (5 * SECOND_NS) /* … where others would be ended with it */
#define CLAIM_RETRY_NS   (2 * SECOND_NS)
#define MESSAGES_AT_ONCE 32
/* Where nobody hears the bell, an idle process looks so often, one or another. */
#define CLAIM_EACH_MS 25
/* So long a worker goes on with what can be done beside each other, when what they were
 * beside has ended. */
#define BESIDE_MOST_NS (10 * SECOND_NS)
/* After a crash, what waits for a moment is not to wait for a whole tick more. */
#define RESTLESS_NS      (10 * SECOND_NS)
#define RESTLESS_TICK_MS 100

int64_t crew_tick_ms(const struct supervisor *v, int64_t now_ns)
{
    return now_ns < v->restless_until_ns ? RESTLESS_TICK_MS : TICK_MS;
}

size_t crew_count(const struct supervisor *v, size_t i)
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

/* One process keeps the log: so a file that was moved away is left by all at once. */
static int hear_line(const struct slot *s, const struct message *m, struct err *e)
{
    if (m->code < LOG_DEBUG || m->code > LOG_ERROR || (*m->about && !id_valid(m->about)))
        return err_set(e, ERR_CORRUPT, "a line for the log is malformed");
    log_relayed((enum log_level)m->code, "worker", (int)s->pid,
                *m->about ? m->about : NULL, m->text);
    return 0;
}

/* A worker that breaks the protocol is not to be trusted with anything. */
static int hear_one(struct supervisor *v, size_t i, struct message *m, struct err *e)
{
    struct slot *s = &v->slots[i];
    if (m->type == MESSAGE_READY) {
        if (s->state != SLOT_STARTING)
            return err_set(e, ERR_CORRUPT, "the worker spoke out of turn");
        s->state = SLOT_IDLE;
        log_info("worker %zu is up, process %d", i, (int)s->pid);
        return 0;
    }
    if (m->type == MESSAGE_LOG)
        return hear_line(s, m, e);
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
        if (r->end == RUN_FINISHED)
            roster_worked(&v->roster,
                          (double)(clock_monotonic_ns() - r->sent_ns) / SECOND_NS,
                          r->seconds - (double)r->from_frame / 100);
    }
    return status;
}

void crew_hear(struct supervisor *v, size_t i)
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
            if (status == ERR_NETWORK) {
                slot_left(s, clock_monotonic_ns());
                return;
            }
            log_error("worker %zu is ended: %s", i, e.message);
            slot_kill(s);
        }
    }
}

void crew_bury(struct supervisor *v, size_t i, int64_t now)
{
    struct slot *s = &v->slots[i];
    bool busy = any_working(v, i);
    if (busy)
        s->deaths = 0; /* a job's doing, not the worker's */
    bool stopped = s->ended;
    if (!slot_reap(s, now))
        return;
    meter_death(&v->jobs->meter, stopped                         ? METER_STOPPED
                                 : strstr(s->death, "signal 9 ") ? METER_KILLED
                                                                 : METER_DIED);
    models_released(v->models, (int)i);
    room_slot_gone(v->room, (int)i);
    if (!busy && !atomic_load(&v->closing) && crew_count(v, i) == 0 && slot_is_news(s))
        log_warning("an idle worker died: %s", s->death);
    /* Any of them may have crashed it: the next time each is alone. */
    for (size_t k = 0; k < WORKER_JOBS; k++) {
        struct run *r = &v->runs[i][k];
        if (!is_working(r))
            continue;
        r->working = false;
        r->killed = s->from_outside;
        run_set_end(r, RUN_CRASHED, ERR_CRASH, "%s", s->death);
        v->restless_until_ns = now + RESTLESS_NS;
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

bool crew_unload(void *arg, int slot, int64_t serial)
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
        if (s->state != SLOT_BUSY) {
            slot_well(s);
            s->busy_ns = now;
        }
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
            crew_count(v, i) == 0)
            return true;
    return false;
}

/* What may be done beside the jobs of a worker; false: nothing. A worker that always
 * found something to do beside the rest would never take what has to be done alone, so
 * that it comes to an end now and then, and takes what is first in the queue. */
static bool may_be_beside(const struct supervisor *v, size_t i, int64_t now,
                          struct store_wish *wish)
{
    bool first = false;
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
        first |= r->first;
    }
    return wish->model && (first || now - v->slots[i].busy_ns < BESIDE_MOST_NS);
}

/* A worker that has nothing to do takes what is next; one that has, what goes well with
 * it, and so shares the decoder's steps: short jobs do not wait for a long one. */
static bool claim(struct supervisor *v, size_t i, int64_t now)
{
    struct store_wish wish;
    struct err e = {0};
    struct run *r = v->runs[i];
    bool alone = v->slots[i].state == SLOT_IDLE && crew_count(v, i) == 0;
    int64_t *at_ns = alone ? &v->claim_at_ns : &v->beside_at_ns;
    if (now < *at_ns || (!alone && !may_be_beside(v, i, now, &wish)))
        return false;
    while (r < v->runs[i] + WORKER_JOBS && r->active)
        r++;
    if (r == v->runs[i] + WORKER_JOBS)
        return false;
    const struct store_wish *wanted = alone ? roster_wish(&v->roster, &wish, now) : &wish;
    int status = run_claim(r, &v->context, wanted, &e);
    if (!status) {
        r->first = alone;
        return true;
    }
    if (status != ERR_NOT_FOUND)
        log_error("no job can be taken from the queue: %s", e.message);
    /* Nothing is due: look again when the bell rings, or in a while. */
    int64_t tick_ms = crew_tick_ms(v, now);
    *at_ns =
        now + (status != ERR_NOT_FOUND ? CLAIM_RETRY_NS
               : tick_ms < TICK_MS     ? tick_ms * 1000000
                                   : roster_pace_ns(&v->roster, TICK_MS, CLAIM_EACH_MS));
    return false;
}

/* What it takes from its environment is as old as this process. */
static void tell_level(const struct supervisor *v, struct slot *s)
{
    const struct config *c = v->jobs->config;
    int level = c->debug ? LOG_DEBUG : (int)c->log_level;
    const struct message m = {.type = MESSAGE_LEVEL, .code = level};
    bool hears = s->state == SLOT_IDLE || s->state == SLOT_BUSY;
    if (level != s->level && hears && s->fd >= 0 && !message_send(s->fd, &m, false, NULL))
        s->level = level;
}

void crew_tend(struct supervisor *v, size_t i)
{
    int64_t now = clock_monotonic_ns();
    crew_hear(v, i);
    if (v->slots[i].state == SLOT_DYING)
        crew_bury(v, i, now);
    for (size_t k = 0; k < WORKER_JOBS; k++)
        run_save(&v->runs[i][k], &v->context, now);
    mind_limits(v, i, now);
    start_missing(v, i, now);
    tell_level(v, &v->slots[i]);
    do
        for (size_t k = 0; k < WORKER_JOBS; k++)
            dispatch(v, i, &v->runs[i][k], now);
    while (claim(v, i, now));
}

bool crew_stopping(const struct supervisor *v, size_t i)
{
    for (size_t k = 0; k < WORKER_JOBS; k++)
        if (is_working(&v->runs[i][k]) && v->runs[i][k].asked_ns)
            return true;
    return false;
}
