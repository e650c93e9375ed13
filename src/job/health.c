#include "job/health.h"

#include "base/clock.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "job/service.h"
#include "job/supervisor.h"
#include "job/workers.h"

#include <errno.h>
#include <pthread.h>

#define MS       INT64_C(1000000)
#define FRESH_NS (100 * MS)   /* what is known for so long is not asked again */
#define LIMIT_NS (1500 * MS)  /* so long somebody who asks waits for an answer */
#define STUCK_NS (60000 * MS) /* so long nothing takes that has not died */

static int ask_database(struct jobs *s, struct err *e)
{
    return store_probe(s->store, e);
}

static int ask_storage(struct jobs *s, struct err *e)
{
    return blob_store_ready(s->blobs, e);
}

static int ask_worker(struct jobs *s, struct err *e)
{
    return s->has_workers ? supervisor_ready(s->supervisor, e) : jobs_any_worker(s, e);
}

static int ask_model(struct jobs *s, struct err *e)
{
    char model[64];
    return catalog_default(s->config, model, e);
}

/* In the order in which one that fails is named: the database first, because others may
 * need it. */
static const struct {
    const char *name;
    int (*ask)(struct jobs *s, struct err *e);
} kinds[] = {{"database", ask_database},
             {"storage", ask_storage},
             {"worker", ask_worker},
             {"model", ask_model}};
#define PARTS ARRAY_LENGTH(kinds)

struct part {
    struct health *health; /* borrowed */
    size_t kind;
    pthread_t thread;
    bool started;
    /* Under the lock. */
    bool wanted;
    int64_t began_ns; /* 0: it is not being asked */
    int64_t ended_ns; /* 0: never */
    struct err last;  /* .code 0: it was well */
};

struct health {
    struct jobs *jobs; /* borrowed */
    pthread_mutex_t lock;
    pthread_cond_t wake;     /* something is wanted, or it is the end */
    pthread_cond_t answered; /* somebody has answered */
    bool closing;            /* under the lock, as the parts */
    struct part parts[PARTS];
};

/* ---- asking ---- */

static void ask(struct health *h, struct part *p)
{
    struct err found = {0};
    p->wanted = false;
    p->began_ns = clock_monotonic_ns();
    pthread_mutex_unlock(&h->lock);
    int status = kinds[p->kind].ask(h->jobs, &found);
    found.code = status;
    pthread_mutex_lock(&h->lock);
    p->last = found;
    p->began_ns = 0;
    p->ended_ns = clock_monotonic_ns();
    pthread_cond_broadcast(&h->answered);
}

static void *run(void *arg)
{
    struct part *p = arg;
    struct health *h = p->health;
    pthread_mutex_lock(&h->lock);
    while (!h->closing) {
        if (p->wanted)
            ask(h, p);
        else
            pthread_cond_wait(&h->wake, &h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* ---- telling; all under the lock ---- */

static void want_all(struct health *h, int64_t now)
{
    for (size_t i = 0; i < PARTS; i++) {
        struct part *p = &h->parts[i];
        if (!p->began_ns && (!p->ended_ns || now - p->ended_ns > FRESH_NS))
            p->wanted = true;
    }
    pthread_cond_broadcast(&h->wake);
}

/* When there is nothing left to wait for, whatever happens: every part has answered by
 * then, or is late. */
static int64_t last_moment(const struct health *h, int64_t came)
{
    int64_t last = 0;
    for (size_t i = 0; i < PARTS; i++) {
        const struct part *p = &h->parts[i];
        int64_t end = p->wanted     ? came + LIMIT_NS
                      : p->began_ns ? p->began_ns + LIMIT_NS
                                    : 0;
        last = end > last ? end : last;
    }
    return last;
}

static void wait_for_answers(struct health *h, int64_t came)
{
    int64_t last;
    while ((last = last_moment(h, came)) > clock_monotonic_ns()) {
        struct timespec at = {.tv_sec = last / 1000000000, .tv_nsec = last % 1000000000};
        (void)pthread_cond_timedwait(&h->answered, &h->lock, &at);
    }
}

static int judge(const struct part *p, int64_t now, int64_t limit_ns, struct err *e)
{
    const char *name = kinds[p->kind].name;
    if (p->wanted)
        return err_set(e, ERR_TIMEOUT, "%s: nobody has come to ask it", name);
    if (p->began_ns && now - p->began_ns >= limit_ns)
        return err_set(e, ERR_TIMEOUT, "%s: it has not answered for %.1f s", name,
                       (double)(now - p->began_ns) / 1e9);
    if (!p->last.code)
        return 0;
    if (e)
        *e = p->last;
    return e ? err_prefix(e, "%s", name) : p->last.code;
}

int health_ready(struct health *h, struct err *e)
{
    int status = 0;
    pthread_mutex_lock(&h->lock);
    int64_t came = clock_monotonic_ns();
    want_all(h, came);
    wait_for_answers(h, came);
    int64_t now = clock_monotonic_ns();
    for (size_t i = 0; !status && i < PARTS; i++)
        status = judge(&h->parts[i], now, LIMIT_NS, e);
    pthread_mutex_unlock(&h->lock);
    return status;
}

int health_alive(struct health *h, struct err *e)
{
    int status = 0;
    pthread_mutex_lock(&h->lock);
    int64_t now = clock_monotonic_ns();
    want_all(h, now);
    for (size_t i = 0; !status && i < PARTS; i++) {
        const struct part *p = &h->parts[i];
        if (p->began_ns && now - p->began_ns > STUCK_NS)
            status = judge(p, now, STUCK_NS, e);
    }
    pthread_mutex_unlock(&h->lock);
    return status;
}

/* ---- start and end ---- */

static void init_clocked(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int health_start(struct health **out, struct jobs *s, struct err *e)
{
    struct health *h = mem_array(1, sizeof *h);
    if (!h)
        return err_set(e, ERR_NOMEM, "out of memory");
    *h = (struct health){.jobs = s};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->wake, NULL);
    init_clocked(&h->answered);
    int status = 0;
    for (size_t i = 0; !status && i < PARTS; i++) {
        struct part *p = &h->parts[i];
        p->health = h;
        p->kind = i;
        errno = pthread_create(&p->thread, NULL, run, p);
        p->started = !errno;
        status = errno ? err_errno(e, "cannot start a thread") : 0;
    }
    if (status) {
        health_stop(h);
        h = NULL;
    }
    *out = h;
    return status;
}

void health_stop(struct health *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->closing = true;
    pthread_cond_broadcast(&h->wake);
    pthread_mutex_unlock(&h->lock);
    for (size_t i = 0; i < PARTS; i++)
        if (h->parts[i].started)
            pthread_join(h->parts[i].thread, NULL);
    pthread_cond_destroy(&h->wake);
    pthread_cond_destroy(&h->answered);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
