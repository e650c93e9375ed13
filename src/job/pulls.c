#include "job/pulls.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define AT_ONCE 2

struct pull {
    struct pulls *all; /* borrowed */
    const struct catalog_entry *entry;
    pthread_t thread;
    bool started; /* its thread is to be joined */
    atomic_bool cancelled;
    struct pull_view view; /* under the lock */
};

struct listener {
    int handle; /* 0: free */
    const struct pull *pull;
    pull_fn fn;
    void *arg; /* borrowed */
};

struct pulls {
    const struct config *config; /* borrowed */
    struct pull *list;           /* owned [count]: every published file */
    size_t count;
    pthread_mutex_t lock;       /* guards the views and what follows */
    struct listener *listeners; /* owned [n_listeners] */
    size_t n_listeners, capacity;
    int last_handle, n_running;
};

/* ---- one download ---- */

/* Call with the lock held. */
static void tell(struct pull *p)
{
    struct pulls *all = p->all;
    p->view.time_ms = clock_now_ms();
    for (size_t i = 0; i < all->n_listeners; i++)
        if (all->listeners[i].handle && all->listeners[i].pull == p)
            all->listeners[i].fn(all->listeners[i].arg, &p->view);
}

static int percent(uint64_t done, uint64_t total)
{
    return total ? (int)((double)done / (double)total * 100) : 0;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct pull *p = arg;
    pthread_mutex_lock(&p->all->lock);
    bool news = percent(done, total) != percent(p->view.done, p->view.total);
    p->view.done = done;
    p->view.total = total;
    if (news)
        tell(p);
    pthread_mutex_unlock(&p->all->lock);
}

static void on_note(void *arg, const char *sentence)
{
    struct pull *p = arg;
    log_info("%s", sentence);
    pthread_mutex_lock(&p->all->lock);
    (void)snprintf(p->view.message, sizeof p->view.message, "%.290s", sentence);
    tell(p);
    pthread_mutex_unlock(&p->all->lock);
}

static bool is_cancelled(void *arg)
{
    return atomic_load(&((struct pull *)arg)->cancelled);
}

static void end(struct pull *p, int status, const struct err *e)
{
    bool here = !status || status == ERR_EXISTS;
    pthread_mutex_lock(&p->all->lock);
    p->all->n_running--;
    p->view.state = here                      ? PULL_DONE
                    : status == ERR_CANCELLED ? PULL_CANCELLED
                                              : PULL_FAILED;
    if (here)
        p->view.done = p->view.total = p->entry->bytes;
    (void)snprintf(p->view.message, sizeof p->view.message, "%.290s",
                   here                           ? "It is here, and right"
                   : p->view.state == PULL_FAILED ? e->message
                                                  : "It was stopped");
    tell(p);
    pthread_mutex_unlock(&p->all->lock);
}

static void *run(void *arg)
{
    struct pull *p = arg;
    struct err e = {0};
    const struct pull_callbacks callbacks = {
        .arg = p, .progress = on_progress, .note = on_note, .cancelled = is_cancelled};
    int status = catalog_pull(p->all->config, p->entry->name, &callbacks, &e);
    if (status && status != ERR_EXISTS)
        log_warning("the model %s was not pulled: %s", p->entry->name, e.message);
    else
        log_info("the model %s was pulled", p->entry->name);
    end(p, status, &e);
    return NULL;
}

/* ---- all of them ---- */

static struct pull *find(const struct pulls *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->list[i].entry->name, name))
            return &p->list[i];
    return NULL;
}

int pulls_new(struct pulls **out, const struct config *c, struct err *e)
{
    size_t count;
    const struct catalog_entry *entries = catalog_entries(&count);
    struct pulls *p = mem_array(1, sizeof *p);
    if (p)
        p->list = mem_array(count + 1, sizeof *p->list);
    if (!p || !p->list) {
        free(p);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    p->config = c;
    p->count = count + 1; /* and the voice detector */
    for (size_t i = 0; i < p->count; i++) {
        p->list[i].all = p;
        p->list[i].entry = i < count ? &entries[i] : catalog_detector();
    }
    pthread_mutex_init(&p->lock, NULL);
    *out = p;
    return 0;
}

void pulls_free(struct pulls *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        atomic_store(&p->list[i].cancelled, true);
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].started)
            pthread_join(p->list[i].thread, NULL);
    pthread_mutex_destroy(&p->lock);
    free(p->listeners);
    free(p->list);
    free(p);
}

/* Call with the lock held. */
static int start(struct pulls *p, struct pull *pull, struct err *e)
{
    if (pull->view.state == PULL_RUNNING)
        return 0;
    if (p->n_running >= AT_ONCE)
        return err_set(e, ERR_STATE,
                       "%d models are being pulled already: wait for one of them",
                       p->n_running);
    if (pull->started)
        pthread_join(pull->thread, NULL); /* it has told its end, and only returns */
    atomic_store(&pull->cancelled, false);
    pull->view = (struct pull_view){.state = PULL_RUNNING, .message = "Beginning"};
    errno = pthread_create(&pull->thread, NULL, run, pull);
    pull->started = !errno;
    if (errno) {
        pull->view.state = PULL_NONE;
        return err_errno(e, "cannot start a thread");
    }
    p->n_running++;
    tell(pull);
    return 0;
}

int pulls_start(struct pulls *p, const char *name, struct err *e)
{
    struct pull *pull = find(p, name);
    if (!pull)
        return err_set(e, ERR_INVALID, "no model \"%.80s\" is published", name);
    pthread_mutex_lock(&p->lock);
    int status = start(p, pull, e);
    pthread_mutex_unlock(&p->lock);
    return status;
}

bool pulls_cancel(struct pulls *p, const char *name)
{
    struct pull *pull = find(p, name);
    if (!pull)
        return false;
    pthread_mutex_lock(&p->lock);
    bool running = pull->view.state == PULL_RUNNING;
    if (running)
        atomic_store(&pull->cancelled, true);
    pthread_mutex_unlock(&p->lock);
    return running;
}

void pulls_view(struct pulls *p, const char *name, struct pull_view *out)
{
    const struct pull *pull = find(p, name);
    *out = (struct pull_view){0};
    pthread_mutex_lock(&p->lock);
    if (pull)
        *out = pull->view;
    pthread_mutex_unlock(&p->lock);
}

/* ---- listeners ---- */

static struct listener *free_listener(struct pulls *p)
{
    for (size_t i = 0; i < p->n_listeners; i++)
        if (!p->listeners[i].handle)
            return &p->listeners[i];
    if (mem_grow(&p->listeners, &p->capacity, p->n_listeners + 1, sizeof *p->listeners))
        return NULL;
    return &p->listeners[p->n_listeners++];
}

int pulls_subscribe(struct pulls *p, const char *name, pull_fn fn, void *arg)
{
    const struct pull *pull = find(p, name);
    if (!pull)
        return ERR_NOT_FOUND;
    pthread_mutex_lock(&p->lock);
    struct listener *l = free_listener(p);
    int handle = l ? ++p->last_handle : ERR_NOMEM;
    if (l) {
        *l = (struct listener){handle, pull, fn, arg};
        fn(arg, &pull->view);
    }
    pthread_mutex_unlock(&p->lock);
    return handle;
}

void pulls_unsubscribe(struct pulls *p, int handle)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_listeners; i++)
        if (handle > 0 && p->listeners[i].handle == handle)
            p->listeners[i].handle = 0;
    pthread_mutex_unlock(&p->lock);
}
