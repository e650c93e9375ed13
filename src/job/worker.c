#include "job/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "format/text.h"
#include "job/ahead.h"
#include "job/detect.h"
#include "job/options.h"
#include "job/parts.h"
#include "job/protocol.h"
#include "job/service.h"
#include "job/transcribe.h"
#include "job/worker_models.h"
#include "media/peaks.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* As much transcript as an earlier attempt may hand over. */
#define MAX_CHECKPOINT_BYTES (256u << 20)

/* As much as a message has beside its body. */
#define MESSAGE_HEADER_BYTES 4096

struct task;

struct worker {
    int fd;
    struct worker_models *models; /* owned */

    pthread_mutex_t lock;            /* guards what follows */
    pthread_cond_t ended;            /* a task has */
    struct task *tasks[WORKER_JOBS]; /* owned; NULL: free */
    int n_tasks;
};

/* A job at hand, in a thread of its own. */
struct task {
    struct worker *worker;
    struct message job; /* owned */
    pthread_t thread;
    struct transcript transcript;
    struct extent sent; /* what the service has of it */
    struct transcribe_times times;
    atomic_bool cancelled;
    struct err lost; /* code != 0: the service cannot be told */
};

/* ---- what the service hears ---- */

static bool is_cancelled(void *arg)
{
    const struct task *t = arg;
    return atomic_load(&t->cancelled) || t->lost.code;
}

static void send_for(struct task *t, struct message *m)
{
    memcpy(m->job_id, t->job.job_id, ID_SIZE);
    m->attempt = t->job.attempt;
    if (!t->lost.code)
        (void)message_send(t->worker->fd, m, true, &t->lost);
}

/* The recording is here in whole, for this once: see how loud it is along its time. A
 * descriptor, or below 0; a job goes on without. */
static int make_waveform(const struct pcm *pcm)
{
    size_t count = peaks_count(pcm->count);
    uint8_t *peaks = mem_array(count + 1, 1);
    int fd = peaks && count > 0 ? memfd_create("waveform", MFD_CLOEXEC) : -1;
    if (fd >= 0) {
        peaks_make(pcm->samples, pcm->count, peaks);
        if (write(fd, peaks, count) != (ssize_t)count) {
            close(fd);
            fd = -1;
        }
    }
    free(peaks);
    return fd;
}

static void on_decoded(void *arg, const struct media_info *info, const struct pcm *pcm)
{
    struct message m = {.type = MESSAGE_DECODED, .seconds = info->seconds};
    int fd = make_waveform(pcm);
    if (fd >= 0)
        m.fds[m.n_fds++] = fd;
    send_for(arg, &m);
    if (fd >= 0)
        close(fd);
}

/* Send all that is not sent: what does not fit into `last` goes in parts before it. */
static void send_rest(struct task *t, struct message *last, bool figures)
{
    const struct extent end = parts_all(&t->transcript);
    bool any = figures || !parts_same(&t->sent, &end);
    struct buf body;
    buf_init(&body, MESSAGE_MAX_BYTES - MESSAGE_HEADER_BYTES);
    while (any && !t->lost.code) {
        struct message part = {.type = MESSAGE_PART};
        if (parts_next(&t->transcript, &t->sent, figures, &body, &t->lost))
            break;
        bool more = !parts_same(&t->sent, &end);
        struct message *m = more ? &part : last;
        m->body = body.data;
        m->body_length = body.length;
        if (!more)
            break;
        send_for(t, m);
    }
    send_for(t, last);
    last->body = NULL; /* was borrowed */
    buf_release(&body);
}

/* A window is done: its segments, and where the next one begins. */
static void on_window(void *arg, int64_t next_frame, int64_t total_frames)
{
    struct task *t = arg;
    const struct transcript *all = &t->transcript;
    struct message m = {.type = MESSAGE_WINDOW,
                        .next_frame = next_frame,
                        .total_frames = total_frames,
                        .probability = all->language_probability};
    memcpy(m.language, all->language, sizeof m.language);
    log_event(LOG_DEBUG, t->job.job_id, "attempt %d: heard up to frame %lld of %lld",
              t->job.attempt, (long long)next_frame, (long long)total_frames);
    send_rest(t, &m, false);
}

/* What does not fit into a message is heard again after a break. */
static void on_ahead(void *arg, int64_t next_frame, const void *bytes, size_t length)
{
    struct task *t = arg;
    struct message m = {.type = MESSAGE_AHEAD, .next_frame = next_frame};
    struct buf text;
    buf_init(&text, MESSAGE_MAX_BYTES - MESSAGE_HEADER_BYTES);
    ahead_encode(bytes, length, &text);
    m.body = text.data;
    m.body_length = text.length;
    log_event(LOG_DEBUG, t->job.job_id, "attempt %d: heard early up to frame %lld",
              t->job.attempt, (long long)next_frame);
    if (!buf_failed(&text))
        send_for(t, &m);
    buf_release(&text);
}

/* ---- a job ---- */

static int read_checkpoint(const struct message *job, struct transcript *out,
                           struct err *e)
{
    if (!(job->attached & ATTACHED_CHECKPOINT))
        return 0;
    int fd = job->fds[job->n_fds - (job->attached & ATTACHED_AHEAD ? 2 : 1)];
    struct stat st;
    if (fstat(fd, &st) || st.st_size <= 0 || st.st_size > (off_t)MAX_CHECKPOINT_BYTES)
        return err_set(e, ERR_CORRUPT, "the checkpoint cannot be read");
    size_t length = (size_t)st.st_size;
    void *bytes = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return err_errno(e, "the checkpoint cannot be read");
    int status = transcript_parse(out, bytes, length, e);
    munmap(bytes, length);
    return status;
}

/* They make it faster, and are not needed. */
static void read_ahead(const struct message *job, struct ahead_windows *out)
{
    struct err e;
    *out = (struct ahead_windows){0};
    if (job->attached & ATTACHED_AHEAD &&
        ahead_windows_read(job->fds[job->n_fds - 1], out, &e))
        log_event(LOG_WARNING, job->job_id, "%s", e.message);
}

static void set_options(const struct message *job, const struct job_options *options,
                        struct transcribe_options *o)
{
    o->params = options->params;
    o->params.task =
        strcmp(job->task, "translate") ? WHISPER_TRANSCRIBE : WHISPER_TRANSLATE;
    o->detect = !strcmp(job->task, JOB_TASK_DETECT);
    o->params.language = job->language;
    o->params.start_frame = job->next_frame;
    if (job->known_language[0]) {
        o->known_language = job->known_language;
        o->known_probability = job->probability;
    }
    o->model_name = job->model;
}

/* The decoder works while the model is loaded. */
static int start_decoding(struct task *t, struct decoding **out, struct err *e)
{
    const struct message *job = &t->job;
    struct media_limits limits;
    media_limits_init(&limits);
    limits.max_seconds = job->max_seconds;
    limits.formats = job->formats[0] ? job->formats : NULL;
    limits.scratch_dir = job->scratch;
    limits.cancelled = is_cancelled;
    limits.cancelled_arg = t;
    return media_start(out, job->fds[0], &limits, e);
}

/* Takes the decoding. */
static int hear(struct task *t, struct decoding *decoding,
                const struct job_options *options, struct err *e)
{
    struct whisper_session *session = NULL;
    const struct worker_patience patience = {is_cancelled, t};
    int64_t begun_ns = clock_monotonic_ns();
    int status = worker_models_take(t->worker->models, &t->job,
                                    options->params.batch_size, &patience, &session, e);
    t->times.load = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    if (!status)
        status = read_checkpoint(&t->job, &t->transcript, e);
    if (status) {
        media_abandon(decoding);
    } else {
        t->sent = parts_all(&t->transcript);
        struct transcribe_options o = {0};
        struct ahead_windows ahead;
        set_options(&t->job, options, &o);
        read_ahead(&t->job, &ahead);
        o.params.ahead = ahead.list;
        o.params.n_ahead = ahead.count;
        struct transcribe_callbacks callbacks = {.arg = t,
                                                 .cancelled = is_cancelled,
                                                 .decoded = on_decoded,
                                                 .window = on_window,
                                                 .ahead = on_ahead,
                                                 .times = &t->times};
        status = transcribe_file(session, decoding, &o, &callbacks, &t->transcript, e);
        ahead_windows_release(&ahead);
    }
    if (session)
        worker_models_give_back(t->worker->models, session);
    return status;
}

static int transcribe(struct task *t, struct err *e)
{
    struct decoding *decoding;
    struct job_options options;
    int status = job_options_parse(&options, t->job.body, e);
    if (status)
        return status;
    status = start_decoding(t, &decoding, e);
    if (!status)
        status = hear(t, decoding, &options, e);
    job_options_release(&options);
    return status;
}

/* A sentence that JSON can hold; also where there is no memory to make one, which may be
 * what it is about. */
static void copy_clean(char *out, size_t size, const char *text)
{
    const char *start = text;
    struct buf b;
    buf_init(&b, size - 1);
    while (*text && !buf_failed(&b) && b.length + 4 < size)
        text_put(&b, text_next(&text));
    (void)snprintf(out, size, "%s", buf_failed(&b) ? start : buf_cstr(&b));
    for (char *c = out; buf_failed(&b) && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    buf_release(&b);
}

static void run_job(struct task *t)
{
    struct err why = {0};
    transcript_init(&t->transcript);
    int status = transcribe(t, &why);
    struct message end = {.type = status ? MESSAGE_FAILED : MESSAGE_FINISHED,
                          .code = status,
                          .probability = t->transcript.language_probability,
                          .seconds = t->transcript.duration,
                          .times = t->times};
    memcpy(end.language, t->transcript.language, sizeof end.language);
    copy_clean(end.text, sizeof end.text, status ? why.message : t->transcript.warning);
    if (status)
        send_for(t, &end);
    else
        send_rest(t, &end, true);
    transcript_release(&t->transcript);
}

static void *task_main(void *arg)
{
    struct task *t = arg;
    struct worker *w = t->worker;
    run_job(t);
    if (t->lost.code && t->lost.code != ERR_NETWORK)
        log_error("the worker stops: %s", t->lost.message);
    if (t->lost.code)
        shutdown(w->fd, SHUT_RDWR); /* so that the service begins the job again */
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < WORKER_JOBS; i++)
        if (w->tasks[i] == t)
            w->tasks[i] = NULL;
    w->n_tasks--;
    pthread_cond_broadcast(&w->ended);
    pthread_mutex_unlock(&w->lock);
    message_release(&t->job);
    free(t);
    return NULL;
}

/* ---- the service's word ---- */

static int begin_job(struct worker *w, struct message *m, struct err *e)
{
    struct task *t = mem_array(1, sizeof *t);
    int at = 0, status = 0;
    if (!t)
        return err_set(e, ERR_NOMEM, "no memory is left for a job");
    t->worker = w;
    t->job = *m;
    pthread_mutex_lock(&w->lock);
    /* One that has told its end may still be leaving. */
    while (w->n_tasks >= WORKER_JOBS)
        pthread_cond_wait(&w->ended, &w->lock);
    while (w->tasks[at])
        at++;
    errno = pthread_create(&t->thread, NULL, task_main, t);
    if (errno) {
        status = err_errno(e, "cannot start a thread");
        free(t);
    } else {
        pthread_detach(t->thread);
        w->tasks[at] = t;
        w->n_tasks++;
        *m = (struct message){0}; /* the task's */
    }
    pthread_mutex_unlock(&w->lock);
    return status;
}

/* One that came too late has nothing left to stop. */
static void cancel_job(struct worker *w, const struct message *m)
{
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < WORKER_JOBS; i++)
        if (w->tasks[i] && !strcmp(w->tasks[i]->job.job_id, m->job_id))
            atomic_store(&w->tasks[i]->cancelled, true);
    pthread_mutex_unlock(&w->lock);
}

static void end_tasks(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < WORKER_JOBS; i++)
        if (w->tasks[i])
            atomic_store(&w->tasks[i]->cancelled, true);
    while (w->n_tasks > 0)
        pthread_cond_wait(&w->ended, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void worker_stops(sigset_t *out)
{
    sigemptyset(out);
    sigaddset(out, SIGTERM);
    sigaddset(out, SIGINT);
    sigaddset(out, SIGHUP);
}

void worker_ignore_stops(void)
{
    sigset_t stops;
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    worker_stops(&stops);
    (void)sigprocmask(SIG_UNBLOCK, &stops, NULL);
}

enum log_level worker_log_level(int asked)
{
    return asked == LOG_DEBUG ? LOG_DEBUG : LOG_WARNING;
}

bool worker_relay(void *arg, enum log_level level, const char *job, const char *message)
{
    const int *fd = arg;
    struct message m = {.type = MESSAGE_LOG, .code = (int)level};
    jobs_copy_cut(m.text, sizeof m.text, message);
    (void)snprintf(m.about, sizeof m.about, "%s", job ? job : "");
    return !message_send(*fd, &m, true, NULL);
}

int worker_run(int fd)
{
    struct worker w = {.fd = fd};
    struct message m = {.type = MESSAGE_READY};
    struct err e = {0};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.ended, NULL);
    int status = worker_models_new(&w.models, fd, &e);
    if (!status)
        status = message_send(fd, &m, true, &e);
    while (!status) {
        int n = message_receive(fd, &m, true, &e);
        if (n < 0) {
            status = n;
            continue;
        }
        if (m.type == MESSAGE_JOB)
            status = begin_job(&w, &m, &e);
        else if (m.type == MESSAGE_CANCEL)
            cancel_job(&w, &m);
        else if (m.type == MESSAGE_UNLOAD)
            worker_models_let_go(w.models, m.serial);
        else if (m.type == MESSAGE_LEVEL)
            log_set_level(worker_log_level(m.code));
        message_release(&m);
    }
    end_tasks(&w);
    worker_models_free(w.models);
    pthread_cond_destroy(&w.ended);
    pthread_mutex_destroy(&w.lock);
    if (status == ERR_NETWORK)
        return 0; /* the service has ended */
    log_error("the worker stops: %s", e.message);
    return status;
}
