#include "store/beside.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS_MAX 4
#define STACK_BYTES ((size_t)256 << 10)

struct beside {
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* All under lock. */
    struct beside_work *first; /* no more than threads that are idle */
    size_t waiting, idle;
    size_t threads, max_threads;
    bool stopping;
    pthread_t ids[]; /* [max_threads], `threads` of them in use */
};

static void *run(void *arg)
{
    struct beside *b = arg;
    pthread_mutex_lock(&b->lock);
    for (;;) {
        while (!b->first && !b->stopping)
            pthread_cond_wait(&b->work, &b->lock);
        struct beside_work *w = b->first;
        if (!w)
            break;
        b->first = w->next;
        b->waiting--;
        b->idle--;
        w->state = BESIDE_TAKEN;
        pthread_mutex_unlock(&b->lock);
        w->run(w->arg);
        pthread_mutex_lock(&b->lock);
        w->state = BESIDE_DONE;
        pthread_cond_signal(&w->done); /* not ours once the lock is free */
        b->idle++;
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Under the lock. Without a thread the owner of the work does it. */
static void add_thread(struct beside *b)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (!pthread_create(&b->ids[b->threads], &attributes, run, b)) {
        b->threads++;
        b->idle++;
    }
    pthread_attr_destroy(&attributes);
}

struct beside *beside_new(size_t threads)
{
    struct beside *b = calloc(1, sizeof *b + threads * sizeof *b->ids);
    if (!b)
        return NULL;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    b->max_threads = threads;
    return b;
}

size_t beside_threads(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = processors > 1 ? (size_t)processors / 2 : 0;
    return threads < THREADS_MAX ? threads : THREADS_MAX;
}

void beside_free(struct beside *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (size_t i = 0; i < b->threads; i++)
        pthread_join(b->ids[i], NULL);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void beside_begin(struct beside *b, struct beside_work *w, void (*work)(void *arg),
                  void *arg)
{
    *w = (struct beside_work){.run = work, .arg = arg};
    pthread_cond_init(&w->done, NULL);
    pthread_mutex_lock(&b->lock);
    if (b->waiting == b->idle && b->threads < b->max_threads && !b->stopping)
        add_thread(b);
    if (b->waiting < b->idle) {
        w->state = BESIDE_WAITS;
        w->next = b->first;
        b->first = w;
        b->waiting++;
        pthread_cond_signal(&b->work);
    }
    pthread_mutex_unlock(&b->lock);
}

/* Under the lock: nobody has begun with it. */
static void take_back(struct beside *b, struct beside_work *w)
{
    struct beside_work **at = &b->first;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    b->waiting--;
    w->state = BESIDE_OURS;
}

void beside_end(struct beside *b, struct beside_work *w)
{
    pthread_mutex_lock(&b->lock);
    if (w->state == BESIDE_WAITS)
        take_back(b, w);
    bool ours = w->state == BESIDE_OURS;
    while (!ours && w->state != BESIDE_DONE)
        pthread_cond_wait(&w->done, &b->lock);
    pthread_mutex_unlock(&b->lock);
    if (ours)
        w->run(w->arg);
    pthread_cond_destroy(&w->done);
}
