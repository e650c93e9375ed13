#include "job/worker.h"

#include "base/config_checks.h"
#include "base/log.h"
#include "base/mem.h"
#include "format/text.h"
#include "job/detector.h"
#include "job/options.h"
#include "job/parts.h"
#include "job/protocol.h"
#include "job/transcribe.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sessions that stay open: the model of the last job and one more. */
#define MAX_SESSIONS 2
/* As much transcript as an earlier attempt may hand over. */
#define MAX_CHECKPOINT_BYTES (256u << 20)

/* As much as a message has beside its body. */
#define MESSAGE_HEADER_BYTES 4096

struct loaded {
    int64_t serial; /* 0: free */
    int threads, max_batch;
    bool exact;
    struct whisper_model *model;     /* owned */
    struct whisper_session *session; /* owned */
    uint64_t used;                   /* rises with every job */
};

struct worker {
    int fd;
    struct vad *vad;  /* owned; NULL: none */
    bool said_no_vad; /* once is enough */
    struct loaded loaded[MAX_SESSIONS];
    uint64_t jobs;
};

/* The job at hand. */
struct task {
    struct worker *worker;
    const struct message *job;
    struct transcript transcript;
    struct extent sent; /* what the service has of it */
    bool cancelled;
    struct err lost; /* code != 0: the service cannot be told */
};

/* ---- models ---- */

static void unload(struct loaded *l)
{
    whisper_session_close(l->session);
    whisper_model_free(l->model);
    *l = (struct loaded){0};
}

/* The voice detector, for all sessions. A job works without; the next one asks again, as
 * somebody may have fetched it in the meantime. */
static void open_detector(struct worker *w, const char *path)
{
    struct err e = {0};
    if (w->vad)
        return;
    if (detector_open(&w->vad, path, &e) == 0) {
        for (size_t i = 0; i < MAX_SESSIONS; i++) /* they know of none */
            unload(&w->loaded[i]);
    } else if (!w->said_no_vad) {
        log_warning("%s", e.message);
        w->said_no_vad = true;
    }
}

/* The weights: what another worker has packed, or from the file, and then for the others.
 */
static int load_model(struct worker *w, const struct message *job,
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
    return message_send(w->fd, &m, true, e);
}

/* The open session of the job's model, or a new one in the place of the oldest. */
static int open_session(struct worker *w, const struct message *job,
                        const struct whisper_params *p, struct whisper_session **out,
                        struct err *e)
{
    struct loaded *l = &w->loaded[0];
    bool exact = compute_type_is_exact(job->compute_type);
    int max_batch =
        p->batch_size > WHISPER_DEFAULT_BATCH ? p->batch_size : WHISPER_DEFAULT_BATCH;
    for (size_t i = 0; i < MAX_SESSIONS; i++) {
        struct loaded *candidate = &w->loaded[i];
        if (candidate->serial == job->serial && candidate->threads == job->threads &&
            candidate->exact == exact && candidate->max_batch >= max_batch) {
            candidate->used = w->jobs;
            *out = candidate->session;
            return 0;
        }
        if (candidate->used < l->used)
            l = candidate;
    }
    unload(l);
    int status = load_model(w, job, &l->model, e);
    struct whisper_session_options options = {
        .threads = job->threads, .max_batch = max_batch, .exact = exact, .vad = w->vad};
    if (!status)
        status = whisper_session_open(&l->session, l->model, &options, e);
    if (status) {
        unload(l);
        return status;
    }
    l->serial = job->serial;
    l->threads = job->threads;
    l->exact = exact;
    l->max_batch = max_batch;
    l->used = w->jobs;
    *out = l->session;
    return 0;
}

/* ---- what the service hears ---- */

/* The service's word while a job runs: cancel, or its end. */
static bool is_cancelled(void *arg)
{
    struct task *t = arg;
    struct message m;
    struct err e;
    int n;
    while (!t->cancelled && !t->lost.code &&
           (n = message_receive(t->worker->fd, &m, false, &e)) != 0) {
        if (n < 0)
            t->lost = e;
        else if (m.type == MESSAGE_CANCEL)
            t->cancelled = !strcmp(m.job_id, t->job->job_id);
        else
            err_set(&t->lost, ERR_CORRUPT, "the service spoke out of turn");
        if (n > 0)
            message_release(&m);
    }
    return t->cancelled || t->lost.code;
}

static void send_for(struct task *t, struct message *m)
{
    memcpy(m->job_id, t->job->job_id, ID_SIZE);
    m->attempt = t->job->attempt;
    if (!t->lost.code)
        (void)message_send(t->worker->fd, m, true, &t->lost);
}

static void on_decoded(void *arg, const struct media_info *info)
{
    struct message m = {.type = MESSAGE_DECODED, .seconds = info->seconds};
    send_for(arg, &m);
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
    send_rest(t, &m, false);
}

/* ---- a job ---- */

static int read_checkpoint(const struct message *job, struct transcript *out,
                           struct err *e)
{
    if (!(job->attached & ATTACHED_CHECKPOINT))
        return 0;
    int fd = job->fds[job->n_fds - 1];
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

static void set_options(const struct message *job, const struct job_options *options,
                        struct transcribe_options *o)
{
    o->params = options->params;
    o->params.task =
        strcmp(job->task, "translate") ? WHISPER_TRANSCRIBE : WHISPER_TRANSLATE;
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
    const struct message *job = t->job;
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
    const struct message *job = t->job;
    struct whisper_session *session;
    open_detector(t->worker, job->vad);
    int status = open_session(t->worker, job, &options->params, &session, e);
    if (status)
        err_prefix(e, "the model %s cannot be used", job->model);
    if (!status)
        status = read_checkpoint(job, &t->transcript, e);
    if (status) {
        media_abandon(decoding);
        return status;
    }
    t->sent = parts_all(&t->transcript);
    struct transcribe_options o = {0};
    set_options(job, options, &o);
    struct transcribe_callbacks callbacks = {
        .arg = t, .cancelled = is_cancelled, .decoded = on_decoded, .window = on_window};
    return transcribe_file(session, decoding, &o, &callbacks, &t->transcript, e);
}

static int transcribe(struct task *t, struct err *e)
{
    struct decoding *decoding;
    struct job_options options;
    int status = job_options_parse(&options, t->job->body, e);
    if (status)
        return status;
    status = start_decoding(t, &decoding, e);
    if (!status)
        status = hear(t, decoding, &options, e);
    job_options_release(&options);
    return status;
}

/* A sentence that JSON can hold. */
static void copy_clean(char *out, size_t size, const char *text)
{
    struct buf b;
    buf_init(&b, size - 1);
    while (*text && b.length + 4 < size)
        text_put(&b, text_next(&text));
    (void)snprintf(out, size, "%s", buf_cstr(&b));
    buf_release(&b);
}

static int run_job(struct worker *w, const struct message *job, struct err *e)
{
    struct task t = {.worker = w, .job = job};
    struct err why = {0};
    transcript_init(&t.transcript);
    w->jobs++;
    int status = transcribe(&t, &why);
    struct message end = {.type = status ? MESSAGE_FAILED : MESSAGE_FINISHED,
                          .code = status,
                          .probability = t.transcript.language_probability,
                          .seconds = t.transcript.duration};
    memcpy(end.language, t.transcript.language, sizeof end.language);
    copy_clean(end.text, sizeof end.text, status ? why.message : t.transcript.warning);
    if (status)
        send_for(&t, &end);
    else
        send_rest(&t, &end, true);
    transcript_release(&t.transcript);
    if (!t.lost.code)
        return 0;
    return err_set(e, t.lost.code, "%s", t.lost.message);
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

int worker_run(int fd)
{
    struct worker w = {.fd = fd};
    struct message m = {.type = MESSAGE_READY};
    struct err e = {0};
    int status = message_send(fd, &m, true, &e);
    while (!status) {
        int n = message_receive(fd, &m, true, &e);
        if (n < 0) {
            status = n;
        } else {
            if (m.type == MESSAGE_JOB)
                status = run_job(&w, &m, &e);
            /* A cancellation that came too late has nothing left to stop. */
            message_release(&m);
        }
    }
    for (size_t i = 0; i < MAX_SESSIONS; i++)
        unload(&w.loaded[i]);
    vad_close(w.vad);
    if (status == ERR_NETWORK)
        return 0; /* the service has ended */
    log_error("the worker stops: %s", e.message);
    return status;
}
