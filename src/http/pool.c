#include "http/pool.h"

#include <pthread.h>
#include <stdlib.h>

#define STACK_BYTES ((size_t)1 << 20)

struct http_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* All under lock. */
    struct http_task *first, **end;
    size_t waiting, line;
    size_t threads, idle, max_threads;
    bool stopping;
    pthread_t ids[]; /* [max_threads], `threads` of them in use */
};

static struct http_task *take(struct http_pool *p)
{
    struct http_task *task = p->first;
    p->first = task->next;
    if (!p->first)
        p->end = &p->first;
    p->waiting--;
    return task;
}

static void *work(void *arg)
{
    struct http_pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->stopping) {
            p->idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
        }
        if (!p->first)
            break;
        struct http_task *task = take(p);
        pthread_mutex_unlock(&p->lock);
        task->run(task);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Under the lock. Without a new thread the old ones do the work. */
static int add_thread(struct http_pool *p)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int failed = pthread_create(&p->ids[p->threads], &attributes, work, p);
    pthread_attr_destroy(&attributes);
    if (!failed)
        p->threads++;
    return failed ? ERR_NOMEM : 0;
}

int http_pool_new(struct http_pool **out, size_t threads, size_t line, struct err *e)
{
    struct http_pool *p = calloc(1, sizeof *p + threads * sizeof *p->ids);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    p->end = &p->first;
    p->max_threads = threads;
    p->line = line;
    pthread_mutex_lock(&p->lock);
    int status = add_thread(p); /* one at least, whatever comes later */
    pthread_mutex_unlock(&p->lock);
    if (status) {
        http_pool_free(p);
        return err_set(e, ERR_NOMEM, "cannot start a thread: too many are running");
    }
    *out = p;
    return 0;
}

void http_pool_free(struct http_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->threads; i++)
        pthread_join(p->ids[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void http_pool_add(struct http_pool *p, struct http_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&p->lock);
    *p->end = task;
    p->end = &task->next;
    p->waiting++;
    if (p->waiting > p->idle && p->threads < p->max_threads && !p->stopping)
        (void)add_thread(p);
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

bool http_pool_full(struct http_pool *p)
{
    pthread_mutex_lock(&p->lock);
    bool full = p->waiting >= p->line;
    pthread_mutex_unlock(&p->lock);
    return full;
}

void http_pool_figures(struct http_pool *p, int64_t *busy, int64_t *waiting)
{
    pthread_mutex_lock(&p->lock);
    *busy = (int64_t)(p->threads - p->idle);
    *waiting = (int64_t)p->waiting;
    pthread_mutex_unlock(&p->lock);
}
