#include "job/worker_models.h"

#include "base/config_checks.h"
#include "base/log.h"
#include "engine/vad.h"
#include "job/detector.h"
#include "job/worker.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

/* A model and its decoder, which all jobs of it share, each with a session of its own. */
struct loaded {
    int64_t serial; /* 0: free */
    int threads, max_batch;
    bool exact;
    struct whisper_model *model;                   /* owned */
    struct whisper_session *sessions[WORKER_JOBS]; /* owned; the others are beside the
                                                    * first */
    bool used[WORKER_JOBS];
    int n_used;
    uint64_t last; /* rises with every job */
};

/* Nobody tells a job that waits that it is cancelled: it asks, so often. */
#define ASK_NS 100000000

struct worker_models {
    int fd;                /* borrowed: the service */
    pthread_mutex_t lock;  /* guards what follows; held while a model is loaded */
    pthread_cond_t unused; /* a session is */
    struct vad *vad;       /* owned; NULL: none */
    bool said_no_vad;      /* once is enough */
    struct loaded loaded[WORKER_MODELS];
    uint64_t jobs;
};

static void unload(struct loaded *l)
{
    for (int i = WORKER_JOBS - 1; i >= 0; i--) /* the first is what they are beside */
        whisper_session_close(l->sessions[i]);
    whisper_model_free(l->model);
    *l = (struct loaded){0};
}

/* The voice detector, for all sessions. A job works without; the next one asks again, as
 * somebody may have fetched it in the meantime. */
static void open_detector(struct worker_models *w, const char *path)
{
    struct err e = {0};
    if (w->vad)
        return;
    if (detector_open(&w->vad, path, &e) == 0) {
        for (size_t i = 0; i < WORKER_MODELS; i++) /* they know of none */
            if (w->loaded[i].n_used == 0)
                unload(&w->loaded[i]);
    } else if (!w->said_no_vad) {
        log_warning("%s", e.message);
        w->said_no_vad = true;
    }
}

/* The weights: what another worker has packed, or from the file, and then for the others.
 */
static int load_model(struct worker_models *w, const struct message *job,
                      struct whisper_model **out, struct err *e)
{
    if (job->attached & ATTACHED_MODEL)
        return whisper_model_attach(out, job->fds[1], e);
    int status = whisper_model_load(out, job->path,
                                    compute_type_is_exact(job->compute_type)
                                        ? WHISPER_WEIGHTS_AS_GIVEN
                                        : WHISPER_WEIGHTS_FASTEST,
                                    e);
    if (status)
        return status;
    struct message m = {.type = MESSAGE_MODEL, .serial = job->serial, .n_fds = 1};
    m.fds[0] = whisper_model_image_fd(*out);
    status = message_send(w->fd, &m, true, e);
    if (status) /* not the model's fault: the service begins the job again elsewhere */
        shutdown(w->fd, SHUT_RDWR);
    return status;
}

static bool is_for(const struct loaded *l, const struct message *job)
{
    return l->serial == job->serial && l->threads == job->threads &&
           l->exact == compute_type_is_exact(job->compute_type);
}

/* The job's model, open already, or in the place of the oldest that nobody uses. One
 * that is used is good enough though it holds fewer windows than are asked for. */
static struct loaded *find_place(struct worker_models *w, const struct message *job,
                                 int max_batch)
{
    struct loaded *place = NULL;
    for (size_t i = 0; i < WORKER_MODELS; i++) {
        struct loaded *l = &w->loaded[i];
        if (is_for(l, job) && (l->max_batch >= max_batch || l->n_used > 0))
            return l;
        if (l->n_used == 0 && (!place || l->last < place->last))
            place = l;
    }
    return place;
}

static int open_model(struct worker_models *w, const struct message *job, int max_batch,
                      struct loaded *l, struct err *e)
{
    unload(l);
    int status = load_model(w, job, &l->model, e);
    if (status)
        return status;
    l->serial = job->serial;
    l->threads = job->threads;
    l->exact = compute_type_is_exact(job->compute_type);
    l->max_batch = max_batch;
    return 0;
}

/* Until a session is given back, or it is time to ask whether it is still wanted. */
static void wait_for_session(struct worker_models *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ASK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(&w->unused, &w->lock, &until);
}

/* A session for a job, of a model that others may use at the same time. */
static int open_session(struct worker_models *w, const struct message *job, int max_batch,
                        const struct worker_patience *p, struct whisper_session **out,
                        struct err *e)
{
    struct loaded *l = find_place(w, job, max_batch);
    int at = 0, status = 0;
    while (!l && !p->cancelled(p->arg)) { /* other models are in use */
        wait_for_session(w);
        l = find_place(w, job, max_batch);
    }
    if (!l || p->cancelled(p->arg))
        return err_set(e, ERR_CANCELLED, "the transcription was cancelled");
    if (!is_for(l, job) || (l->max_batch < max_batch && l->n_used == 0))
        status = open_model(w, job, max_batch, l, e);
    while (at < WORKER_JOBS - 1 && l->used[at])
        at++;
    struct whisper_session_options options = {.threads = l->threads,
                                              .max_batch = l->max_batch,
                                              .exact = l->exact,
                                              .vad = w->vad};
    if (!status && !l->sessions[0])
        status = whisper_session_open(&l->sessions[0], l->model, &options, e);
    options.beside = l->sessions[0];
    if (!status && !l->sessions[at])
        status = whisper_session_open(&l->sessions[at], l->model, &options, e);
    if (status) {
        if (l->n_used == 0)
            unload(l);
        return status;
    }
    l->used[at] = true;
    l->n_used++;
    l->last = w->jobs;
    *out = l->sessions[at];
    return 0;
}

static void close_session(struct worker_models *w, const struct whisper_session *session)
{
    for (size_t i = 0; i < WORKER_MODELS; i++)
        for (int k = 0; k < WORKER_JOBS; k++)
            if (w->loaded[i].sessions[k] == session) {
                w->loaded[i].used[k] = false;
                w->loaded[i].n_used--;
            }
    pthread_cond_broadcast(&w->unused);
}

int worker_models_take(struct worker_models *w, const struct message *job, int batch,
                       const struct worker_patience *p, struct whisper_session **out,
                       struct err *e)
{
    pthread_mutex_lock(&w->lock);
    w->jobs++;
    open_detector(w, job->vad);
    int status =
        open_session(w, job, batch > WORKER_BATCH ? batch : WORKER_BATCH, p, out, e);
    pthread_mutex_unlock(&w->lock);
    return status ? err_prefix(e, "the model %s cannot be used", job->model) : 0;
}

void worker_models_give_back(struct worker_models *w,
                             const struct whisper_session *session)
{
    pthread_mutex_lock(&w->lock);
    close_session(w, session);
    pthread_mutex_unlock(&w->lock);
}

void worker_models_let_go(struct worker_models *w, int64_t serial)
{
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < WORKER_MODELS; i++)
        if (w->loaded[i].serial == serial && w->loaded[i].n_used == 0)
            unload(&w->loaded[i]);
    pthread_mutex_unlock(&w->lock);
    malloc_trim(0); /* what was freed goes back to the system */
}

int worker_models_new(struct worker_models **out, int fd, struct err *e)
{
    struct worker_models *w = calloc(1, sizeof *w);
    pthread_condattr_t monotonic;
    *out = w;
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->fd = fd;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->unused, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return 0;
}

void worker_models_free(struct worker_models *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < WORKER_MODELS; i++)
        unload(&w->loaded[i]);
    vad_close(w->vad);
    pthread_cond_destroy(&w->unused);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
