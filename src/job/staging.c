#include "job/staging.h"

#include "base/clock.h"
#include "base/log.h"
#include "job/service.h"
#include "job/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define THREADS   3
#define PLACES    64
#define FORGET_NS INT64_C(20000000000)
#define AGAIN_NS  INT64_C(2000000000)

enum place_state { FREE, WANTED, FETCHING, HERE, FAILED };

struct place {
    enum place_state state;
    char id[ID_SIZE];
    int fd; /* owned, of HERE */
    bool told;
    int64_t asked_ns; /* last */
    int64_t next_ns;  /* not before */
    struct err why;   /* of FAILED */
};

struct staging {
    struct jobs *jobs; /* borrowed */
    pthread_t threads[THREADS];
    size_t running;
    bool remote;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool closing;
    struct place places[PLACES];
};

static void clear(struct place *p)
{
    if (p->state == HERE)
        close(p->fd);
    *p = (struct place){.fd = -1};
}

/* What nobody asks for is of a job that was cancelled or given back. */
static void forget_old(struct staging *t, int64_t now)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct place *p = &t->places[i];
        if (p->state != FREE && p->state != FETCHING && now - p->asked_ns > FORGET_NS)
            clear(p);
    }
}

static struct place *find(struct staging *t, const char *id)
{
    struct place *unused = NULL;
    for (size_t i = 0; i < PLACES; i++) {
        struct place *p = &t->places[i];
        if (p->state != FREE && !strcmp(p->id, id))
            return p;
        if (p->state == FREE && !unused)
            unused = p;
    }
    if (unused) {
        *unused = (struct place){.state = WANTED, .fd = -1};
        memcpy(unused->id, id, ID_SIZE);
    }
    return unused;
}

static int answer(struct staging *t, struct place *p, struct err *e)
{
    if (p->state == FAILED) {
        int status = err_set(e, p->why.code, "%s", p->why.message);
        clear(p);
        return status;
    }
    if (p->state == HERE) {
        int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? err_errno(e, "cannot hand a recording over") : fd;
    }
    pthread_cond_signal(&t->changed);
    return STAGING_COMING;
}

int staging_ask(struct staging *t, const char *id, struct err *e)
{
    if (!t->remote)
        return blob_open(t->jobs->blobs, id, e);
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&t->lock);
    forget_old(t, now);
    struct place *p = find(t, id);
    if (p)
        p->asked_ns = now;
    int status = p ? answer(t, p, e) : STAGING_COMING;
    pthread_mutex_unlock(&t->lock);
    return status;
}

void staging_done(struct staging *t, const char *id)
{
    if (!t->remote)
        return;
    pthread_mutex_lock(&t->lock);
    struct place *p = find(t, id);
    if (p)
        clear(p);
    pthread_mutex_unlock(&t->lock);
}

static struct place *next_place(struct staging *t, int64_t now)
{
    for (size_t i = 0; i < PLACES; i++)
        if (t->places[i].state == WANTED && t->places[i].next_ns <= now)
            return &t->places[i];
    return NULL;
}

static void wait_a_little(struct staging *t)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    (void)pthread_cond_timedwait(&t->changed, &t->lock, &until);
}

/* Only a recording that is not there fails its job; a server comes back. */
static void settle(struct place *p, int fd, const struct err *why, int64_t now)
{
    if (fd >= 0) {
        p->state = HERE;
        p->fd = fd;
    } else if (fd == ERR_NOT_FOUND || fd == ERR_CORRUPT) {
        p->state = FAILED;
        p->why = *why;
    } else {
        if (!p->told)
            log_event(LOG_WARNING, p->id, "waits for the storage: %s", why->message);
        p->told = true;
        p->state = WANTED;
        p->next_ns = now + AGAIN_NS;
    }
}

static void *run(void *arg)
{
    struct staging *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->closing) {
        struct err why = {0};
        struct place *p = next_place(t, clock_monotonic_ns());
        if (!p) {
            wait_a_little(t);
            continue;
        }
        p->state = FETCHING;
        pthread_mutex_unlock(&t->lock);
        int fd = blob_open(t->jobs->blobs, p->id, &why);
        pthread_mutex_lock(&t->lock);
        settle(p, fd, &why, clock_monotonic_ns());
        if (!t->closing && t->jobs->supervisor)
            supervisor_wake(t->jobs->supervisor);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

int staging_new(struct staging **out, struct jobs *s, struct err *e)
{
    struct staging *t = calloc(1, sizeof *t);
    *out = t;
    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_condattr_t monotonic;
    t->jobs = s;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int status = 0;
    t->remote = blob_store_is_remote(s->blobs);
    for (size_t i = 0; t->remote && !status && i < THREADS; i++) {
        errno = pthread_create(&t->threads[i], NULL, run, t);
        t->running += !errno;
        status = errno ? err_errno(e, "cannot start a thread") : 0;
    }
    return status;
}

void staging_stop(struct staging *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->closing = true;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    for (size_t i = 0; i < t->running; i++)
        pthread_join(t->threads[i], NULL);
    t->running = 0;
}

void staging_free(struct staging *t)
{
    if (!t)
        return;
    staging_stop(t);
    for (size_t i = 0; i < PLACES; i++)
        clear(&t->places[i]);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
