#include "api/vigil.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>

#define LOOK_NS INT64_C(400000000)

struct vigil {
    struct access *access; /* borrowed */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t bell;
    struct vigil_post *list; /* under lock */
    bool stopping;           /* under lock */
    /* The thread's alone: */
    struct access_pass *passes; /* owned [count]: each that somebody holds */
    size_t count, capacity;
};

static bool is_same(const struct access_pass *a, const struct access_pass *b)
{
    return !strcmp(a->id, b->id) && !strcmp(a->session, b->session);
}

/* Under the lock. Where memory is out, the rest is looked at the next time. */
static void collect(struct vigil *v)
{
    v->count = 0;
    for (struct vigil_post *p = v->list; p; p = p->next) {
        size_t i = 0;
        while (i < v->count && !is_same(&v->passes[i], &p->pass))
            i++;
        if (p->told || i < v->count)
            continue;
        if (mem_grow(&v->passes, &v->capacity, i + 1, sizeof *v->passes))
            return;
        v->passes[v->count++] = p->pass;
    }
}

/* Under the lock. */
static void tell(struct vigil *v, const struct access_pass *pass)
{
    for (struct vigil_post *p = v->list; p; p = p->next)
        if (!p->told && is_same(&p->pass, pass)) {
            p->told = true;
            p->withdrawn(p->arg);
        }
}

/* Under the lock, which is let go while the database is asked. */
static void look(struct vigil *v)
{
    collect(v);
    for (size_t i = 0; i < v->count && !v->stopping; i++) {
        pthread_mutex_unlock(&v->lock);
        /* What is not known now is asked again: nobody is sent away for a busy disk. */
        int status = access_pass_check(v->access, &v->passes[i]);
        pthread_mutex_lock(&v->lock);
        if (status == ERR_DENIED)
            tell(v, &v->passes[i]);
    }
}

/* Under the lock. */
static void wait_a_moment(struct vigil *v)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at = until.tv_nsec + LOOK_NS;
    until.tv_sec += at / 1000000000;
    until.tv_nsec = at % 1000000000;
    int late = 0;
    while (!v->stopping && late != ETIMEDOUT)
        late = pthread_cond_timedwait(&v->bell, &v->lock, &until);
}

static void *run(void *arg)
{
    struct vigil *v = arg;
    pthread_mutex_lock(&v->lock);
    while (!v->stopping) {
        while (!v->list && !v->stopping)
            pthread_cond_wait(&v->bell, &v->lock);
        wait_a_moment(v);
        look(v);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

static void vigil_free(struct vigil *v)
{
    pthread_cond_destroy(&v->bell);
    pthread_mutex_destroy(&v->lock);
    free(v->passes);
    free(v);
}

int vigil_start(struct vigil **out, struct access *access, struct err *e)
{
    *out = NULL;
    struct vigil *v = calloc(1, sizeof *v);
    if (!v)
        return err_set(e, ERR_NOMEM, "out of memory");
    v->access = access;
    pthread_mutex_init(&v->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&v->bell, &monotonic);
    pthread_condattr_destroy(&monotonic);
    errno = pthread_create(&v->thread, NULL, run, v);
    if (errno) {
        int status = err_errno(e, "cannot start a thread");
        vigil_free(v);
        return status;
    }
    *out = v;
    return 0;
}

void vigil_stop(struct vigil *v)
{
    if (!v)
        return;
    pthread_mutex_lock(&v->lock);
    v->stopping = true;
    pthread_cond_signal(&v->bell);
    pthread_mutex_unlock(&v->lock);
    pthread_join(v->thread, NULL);
    vigil_free(v);
}

void vigil_add(struct vigil *v, struct vigil_post *post)
{
    if (!access_pass_may_end(&post->pass))
        return;
    pthread_mutex_lock(&v->lock);
    post->added = true;
    post->told = false;
    post->previous = NULL;
    post->next = v->list;
    if (v->list)
        v->list->previous = post;
    v->list = post;
    pthread_cond_signal(&v->bell);
    pthread_mutex_unlock(&v->lock);
}

void vigil_remove(struct vigil *v, struct vigil_post *post)
{
    if (!post->added)
        return;
    pthread_mutex_lock(&v->lock);
    post->added = false;
    if (post->previous)
        post->previous->next = post->next;
    else
        v->list = post->next;
    if (post->next)
        post->next->previous = post->previous;
    pthread_mutex_unlock(&v->lock);
}
