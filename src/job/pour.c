/* Recordings on their way from a storage that is a server to those who listen: a thread
 * for each, for both ends may be slow. */
#include "job/recording.h"

#include "base/log.h"
#include "job/service.h"

#include <errno.h>
#include <unistd.h>

#define POURS_MAX 200

struct pours {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t count; /* under lock */
};

struct pour {
    struct jobs *jobs; /* borrowed */
    char id[ID_SIZE];
    int64_t first, length;
    struct recording_sink sink;
};

int pours_new(struct pours **out, struct err *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&(*out)->lock, NULL);
    pthread_cond_init(&(*out)->changed, NULL);
    return 0;
}

void pours_free(struct pours *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    while (p->count)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static bool enter(struct pours *p)
{
    pthread_mutex_lock(&p->lock);
    bool room = p->count < POURS_MAX;
    p->count += room;
    pthread_mutex_unlock(&p->lock);
    return room;
}

static void leave(struct pours *p)
{
    pthread_mutex_lock(&p->lock);
    p->count--;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static int on_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    const struct recording_sink *sink = arg;
    return sink->data(sink->arg, bytes, length)
               ? 0
               : err_set(e, ERR_CANCELLED, "nobody listens any more");
}

static void *run(void *arg)
{
    struct pour *p = arg;
    struct pours *pours = p->jobs->pours;
    struct err e;
    int status =
        blob_read(p->jobs->blobs, p->id, p->first, p->length, on_data, &p->sink, &e);
    if (status && status != ERR_CANCELLED)
        log_event(LOG_WARNING, p->id, "its recording is not sent to the end: %s",
                  e.message);
    p->sink.end(p->sink.arg, !status);
    free(p);
    leave(pours);
    return NULL;
}

int jobs_recording_pour(struct jobs *s, const char *id, int64_t first, int64_t length,
                        const struct recording_sink *sink, struct err *e)
{
    pthread_attr_t detached;
    pthread_t thread;
    struct pour *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory");
    *p = (struct pour){.jobs = s, .first = first, .length = length, .sink = *sink};
    memcpy(p->id, id, ID_SIZE);
    if (!enter(s->pours)) {
        free(p);
        return err_set(e, ERR_TIMEOUT, "too many recordings are being listened to");
    }
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    errno = pthread_create(&thread, &detached, run, p);
    pthread_attr_destroy(&detached);
    if (!errno)
        return 0;
    int status = err_errno(e, "cannot start a thread");
    leave(s->pours);
    free(p);
    return status;
}
