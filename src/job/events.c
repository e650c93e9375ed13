#include "job/events.h"

#include "base/log.h"
#include "base/mem.h"

#include <limits.h>
#include <pthread.h>

struct subscriber {
    int handle;
    char job_id[ID_SIZE]; /* "": all jobs */
    job_event_fn fn;
    void *arg; /* borrowed */
};

struct events {
    /* Held while subscribers are called, so that unsubscribing waits for them. Taken
     * before `posting`. */
    pthread_mutex_t subscribing;
    struct subscriber *subscribers; /* owned [n_subscribers] */
    size_t n_subscribers, subscribers_capacity;
    int last_handle;

    pthread_mutex_t posting;
    size_t listeners;         /* n_subscribers, for posters */
    struct job_event *posted; /* owned [n_posted] */
    size_t n_posted, posted_capacity;
};

int events_new(struct events **out, struct err *e)
{
    struct events *ev = calloc(1, sizeof *ev);
    if (!ev)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&ev->subscribing, NULL);
    pthread_mutex_init(&ev->posting, NULL);
    *out = ev;
    return 0;
}

void events_free(struct events *ev)
{
    if (!ev)
        return;
    pthread_mutex_destroy(&ev->subscribing);
    pthread_mutex_destroy(&ev->posting);
    free(ev->subscribers);
    free(ev->posted);
    free(ev);
}

/* Call with `subscribing` held. */
static void count_listeners(struct events *ev)
{
    pthread_mutex_lock(&ev->posting);
    ev->listeners = ev->n_subscribers;
    pthread_mutex_unlock(&ev->posting);
}

int events_subscribe(struct events *ev, const char *job_id, job_event_fn fn, void *arg)
{
    if (job_id && !id_valid(job_id))
        return ERR_NOT_FOUND;
    pthread_mutex_lock(&ev->subscribing);
    int handle = ERR_NOMEM;
    if (!mem_grow(&ev->subscribers, &ev->subscribers_capacity, ev->n_subscribers + 1,
                  sizeof *ev->subscribers) &&
        ev->last_handle < INT_MAX) {
        handle = ++ev->last_handle;
        struct subscriber *s = &ev->subscribers[ev->n_subscribers++];
        *s = (struct subscriber){.handle = handle, .fn = fn, .arg = arg};
        if (job_id)
            memcpy(s->job_id, job_id, ID_SIZE);
        count_listeners(ev);
    }
    pthread_mutex_unlock(&ev->subscribing);
    return handle;
}

void events_unsubscribe(struct events *ev, int handle)
{
    pthread_mutex_lock(&ev->subscribing);
    for (size_t i = 0; i < ev->n_subscribers; i++)
        if (ev->subscribers[i].handle == handle) {
            ev->subscribers[i] = ev->subscribers[--ev->n_subscribers];
            break;
        }
    count_listeners(ev);
    pthread_mutex_unlock(&ev->subscribing);
}

size_t events_wanted(struct events *ev, char (*ids)[ID_SIZE], size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&ev->subscribing);
    for (size_t i = 0; i < ev->n_subscribers && count < max; i++)
        if (ev->subscribers[i].job_id[0])
            memcpy(ids[count++], ev->subscribers[i].job_id, ID_SIZE);
    pthread_mutex_unlock(&ev->subscribing);
    return count;
}

void events_post(struct events *ev, const struct job_event *event)
{
    pthread_mutex_lock(&ev->posting);
    if (ev->listeners) {
        if (mem_grow(&ev->posted, &ev->posted_capacity, ev->n_posted + 1,
                     sizeof *ev->posted))
            log_warning("an event was lost: out of memory");
        else
            ev->posted[ev->n_posted++] = *event;
    }
    pthread_mutex_unlock(&ev->posting);
}

static void tell(const struct events *ev, const struct job_event *event)
{
    for (size_t i = 0; i < ev->n_subscribers; i++) {
        const struct subscriber *s = &ev->subscribers[i];
        if (!s->job_id[0] || !strcmp(s->job_id, event->job_id))
            s->fn(s->arg, event);
    }
}

void events_deliver(struct events *ev)
{
    pthread_mutex_lock(&ev->posting);
    struct job_event *events = ev->posted;
    size_t count = ev->n_posted;
    ev->posted = NULL;
    ev->n_posted = ev->posted_capacity = 0;
    pthread_mutex_unlock(&ev->posting);
    if (count) {
        pthread_mutex_lock(&ev->subscribing);
        for (size_t i = 0; i < count; i++)
            tell(ev, &events[i]);
        pthread_mutex_unlock(&ev->subscribing);
    }
    free(events);
}
