#include "job/run.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "job/ahead.h"
#include "job/checkpoint.h"
#include "job/staging.h"
#include "store/waveform.h"

#include <stdarg.h>
#include <unistd.h>

#define STORE_RETRY_NS INT64_C(2000000000)
#define CRASH_LIMIT    3
/* Whoever kills a worker means neither the recording nor the job; but what watches over a
 * machine's memory may kill for one all the same. */
#define KILL_LIMIT          50
#define CRASH_PAUSE_MS      500
#define CRASH_PAUSE_MOST_MS 8000
#define FULL_PAUSE_MS       1000
#define FULL_PAUSE_MOST_MS  5000
#define CLAIM_TRIES         100

/* ---- helpers ---- */

/* Progress displays take a message that is lost; nothing else depends on it. */
static void set_message(struct job *j, const char *text)
{
    free(j->message);
    j->message = strdup(text);
}

void run_set_end(struct run *r, enum run_end end, int code, const char *format, ...)
{
    if (r->end != RUN_GOES_ON)
        return;
    char message[sizeof r->why.message];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->end = end;
    err_set(&r->why, code, "%s", message);
}

void run_fail(struct run *r, int code, const char *message)
{
    run_set_end(r, code == ERR_FULL ? RUN_PUT_OFF : RUN_FAILED, code, "%s", message);
}

static void bodies_release(struct bodies *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->list[i]);
    free(b->list);
}

static void forget_ahead(struct run *r)
{
    for (size_t i = 0; i < r->ahead.count; i++)
        free(r->ahead.list[i].text);
    free(r->ahead.list);
    r->ahead = (struct ahead_list){0};
}

static void run_release(struct run *r)
{
    job_release(&r->job);
    bodies_release(&r->windows);
    bodies_release(&r->report);
    forget_ahead(r);
    buf_release(&r->waveform);
    *r = (struct run){0};
}

/* The store did not take it. A fence that held means that the job is ours no more;
 * anything else (a full disk, a busy database) is tried again. */
static void refused(struct run *r, int status, const struct err *why, int64_t now_ns)
{
    if (status == ERR_STATE || status == ERR_NOT_FOUND) {
        if (r->end != RUN_LOST)
            log_event(LOG_INFO, r->job.id, "stopped: it was cancelled, deleted or taken");
        r->end = RUN_LOST;
        return;
    }
    log_event(LOG_ERROR, r->job.id, "not saved yet, trying again: %s", why->message);
    r->not_before_ns = now_ns + STORE_RETRY_NS;
}

/* ---- claim and send ---- */

/* One that is offered may be gone: cancelled, or had by another. */
static int claim_next(struct run *r, const struct run_context *c,
                      const struct store_wish *wish, struct err *e)
{
    struct jobs *s = c->jobs;
    struct queue_ticket ticket;
    int status = queue_next(s->queue, wish, &ticket, e);
    if (status)
        return status;
    pthread_mutex_lock(&s->order);
    status = queue_take(s->queue, &ticket, wish, c->owner, &r->job, e);
    if (!status)
        jobs_post(s, &r->job);
    pthread_mutex_unlock(&s->order);
    return status;
}

int run_claim(struct run *r, const struct run_context *c, const struct store_wish *wish,
              struct err *e)
{
    *r = (struct run){0};
    int status = ERR_STATE;
    for (int i = 0; status == ERR_STATE && i < CLAIM_TRIES; i++)
        status = claim_next(r, c, wish, e);
    if (status == ERR_STATE) /* so many that were gone: go on in a while */
        status = err_set(e, ERR_NOT_FOUND, "no job that is offered can be had");
    if (!status) {
        r->active = true;
        meter_begun(&c->jobs->meter, &r->job);
        log_event(LOG_INFO, r->job.id, "begun: attempt %d, model %s, worker %s",
                  r->job.attempt, r->job.model, c->owner);
    }
    return status;
}

static void fill_message(const struct run *r, const struct run_context *c,
                         struct message *m)
{
    const struct config *config = c->jobs->config;
    const struct job *j = &r->job;
    m->type = MESSAGE_JOB;
    memcpy(m->job_id, j->id, ID_SIZE);
    m->attempt = j->attempt;
    m->threads = c->threads;
    m->max_seconds = (double)config->max_audio_seconds;
    m->body = j->options;
    m->body_length = strlen(j->options);
    (void)snprintf(m->model, sizeof m->model, "%s", j->model);
    (void)snprintf(m->task, sizeof m->task, "%s", j->task);
    (void)snprintf(m->language, sizeof m->language, "%s", j->language_asked);
    (void)snprintf(m->formats, sizeof m->formats, "%s",
                   config->allowed_formats ? config->allowed_formats : "");
    (void)catalog_detector_path(config, m->vad, NULL); /* the worker says if it is none */
    (void)snprintf(m->compute_type, sizeof m->compute_type, "%s", config->compute_type);
    (void)snprintf(m->scratch, sizeof m->scratch, "%s",
                   blob_store_scratch(c->jobs->blobs));
}

/* The recording; 1 when it is on its way. */
static int attach_recording(const struct run *r, const struct run_context *c,
                            struct message *m, struct err *e)
{
    int fd = staging_ask(c->jobs->staging, r->job.id, e);
    if (fd == STAGING_COMING)
        return 1;
    if (fd < 0)
        return err_prefix(e, "the recording is missing in the storage");
    m->fds[m->n_fds++] = fd;
    return 0;
}

/* What earlier attempts did, as files; -1: nothing. */
struct known_files {
    int checkpoint, ahead;
};

static int attach_checkpoint(struct run *r, const struct run_context *c,
                             struct message *m, struct known_files *files, struct err *e)
{
    struct store_resume resume;
    int status = store_resume(c->jobs->store, r->job.id, &resume, e);
    /* What the database cannot tell now it can later; only damage stays. */
    if (status)
        return status == ERR_CORRUPT || status == ERR_NOT_FOUND ? status : ERR_AWAY;
    if (resume.next_frame > 0) {
        r->from_frame = r->next_frame = m->next_frame = resume.next_frame;
        if (resume.language) {
            (void)snprintf(m->known_language, sizeof m->known_language, "%s",
                           resume.language);
            m->probability = resume.language_probability;
            r->probability = resume.language_probability;
            memcpy(r->language, m->known_language, sizeof r->language);
        }
        files->checkpoint = checkpoint_file(&resume, e);
        if (files->checkpoint < 0)
            status = files->checkpoint;
        log_event(LOG_INFO, r->job.id, "goes on from second %lld",
                  (long long)(resume.next_frame / 100));
    }
    files->ahead = ahead_file(&resume);
    store_resume_release(&resume);
    return status;
}

static int compose(struct run *r, const struct run_context *c, int slot,
                   struct message *m, struct known_files *files, struct err *e)
{
    int image_fd = -1;
    fill_message(r, c, m);
    int status = catalog_path(c->jobs->config, r->job.model, m->path, e);
    if (status)
        return status;
    /* Before a model is loaded for it. */
    status = attach_recording(r, c, m, e);
    if (status)
        return status > 0 ? MODELS_LOADING : status;
    int answer = models_ask(c->models, m->path, slot, &m->serial, &image_fd, e);
    if (answer < 0 || answer == MODELS_LOADING)
        return answer;
    status = attach_checkpoint(r, c, m, files, e);
    if (status)
        return status;
    if (answer == MODELS_PACKED) {
        m->attached |= ATTACHED_MODEL;
        m->fds[m->n_fds++] = image_fd;
    }
    if (files->checkpoint >= 0) {
        m->attached |= ATTACHED_CHECKPOINT;
        m->fds[m->n_fds++] = files->checkpoint;
    }
    if (files->ahead >= 0) {
        m->attached |= ATTACHED_AHEAD;
        m->fds[m->n_fds++] = files->ahead;
    }
    return answer;
}

static bool any_model(const struct run_context *c)
{
    char model[64];
    return !catalog_default(c->jobs->config, model, NULL);
}

/* Without any model the folder is not there just now, most likely: the service is not
 * ready, and its jobs wait until it is. */
static void wait_for_models(struct run *r, const struct err *why)
{
    if (!r->modelless)
        log_event(LOG_WARNING, r->job.id, "waits: %s", why->message);
    r->modelless = true;
}

/* The database went away since it gave us the job: that is not the job's fault. */
static bool is_passing(int status)
{
    return status == ERR_AWAY || status == ERR_TIMEOUT;
}

static void send_later(struct run *r, const struct err *why, int64_t now_ns)
{
    log_event(LOG_WARNING, r->job.id, "waits: %s", why->message);
    r->not_before_ns = now_ns + STORE_RETRY_NS;
}

int run_send(struct run *r, const struct run_context *c, int slot, int fd, int64_t now_ns,
             struct err *e)
{
    struct message m = {0};
    struct err why = {0};
    struct known_files files = {-1, -1};
    if (now_ns < r->not_before_ns)
        return 0;
    int status = compose(r, c, slot, &m, &files, &why);
    if (status == MODELS_LOADING) {
        status = 0;
    } else if (status == ERR_NOT_FOUND && !any_model(c)) {
        models_released(c->models, slot);
        wait_for_models(r, &why);
        status = 0;
    } else if (is_passing(status)) {
        models_released(c->models, slot);
        send_later(r, &why, now_ns);
        status = 0;
    } else if (status < 0) {
        models_released(c->models, slot);
        run_fail(r, status, why.message);
        status = 1;
    } else {
        status = message_send(fd, &m, false, e);
        if (status == ERR_NETWORK || status == ERR_TIMEOUT) {
            models_released(c->models, slot); /* the worker's fault: another may do it */
        } else if (status) {
            models_released(c->models, slot);
            run_fail(r, status, e->message);
            status = 1;
        } else {
            staging_done(c->jobs->staging, r->job.id);
            r->sent = r->working = true;
            r->serial = m.serial;
            r->sent_ns = now_ns;
            r->deadline_ns = now_ns + c->jobs->config->time_limit_seconds * 1000000000;
            status = 1;
        }
    }
    if (m.n_fds > 0)
        close(m.fds[0]);
    if (files.checkpoint >= 0)
        close(files.checkpoint);
    if (files.ahead >= 0)
        close(files.ahead);
    return status;
}

/* ---- into the store ---- */

static void time_text(char out[32], int64_t frames)
{
    int64_t s = frames / 100;
    if (s >= 3600)
        (void)snprintf(out, 32, "%lld:%02d:%02d", (long long)(s / 3600),
                       (int)(s / 60 % 60), (int)(s % 60));
    else
        (void)snprintf(out, 32, "%02d:%02d", (int)(s / 60), (int)(s % 60));
}

static void advance(struct job *j, int progress, const char *message)
{
    if (progress > j->progress)
        j->progress = progress;
    set_message(j, message);
}

/* Decoding counts for 1 %, the windows for 98, writing the result for the last. */
static int save_decoded(struct run *r, struct jobs *s, struct err *e)
{
    static const char message[] = "Transcribing";
    int status =
        store_decoded(s->store, r->job.id, r->job.attempt, r->seconds, 1, message, e);
    if (!status && r->waveform.length)
        status = store_waveform_save(s->store, r->job.id, r->job.attempt,
                                     r->waveform.data, r->waveform.length, e);
    if (status)
        return status;
    r->decoded_unsaved = false;
    buf_release(&r->waveform);
    r->job.duration_seconds = r->seconds;
    advance(&r->job, 1, message);
    jobs_post(s, &r->job);
    return 0;
}

static int save_window(struct run *r, struct jobs *s, struct err *e)
{
    char done[32], all[32], message[100];
    int64_t next = r->next_frame < r->total_frames ? r->next_frame : r->total_frames;
    time_text(done, next);
    time_text(all, r->total_frames);
    (void)snprintf(message, sizeof message, "Transcribing %s of %s", done, all);
    struct store_checkpoint cp = {
        .next_frame = r->next_frame,
        .language = r->language[0] ? r->language : NULL,
        .language_probability = r->probability,
        .windows = (const char *const *)r->windows.list,
        .n_windows = r->windows.count - r->n_parts,
        .progress = 1 + (int)(98.0 * (double)next / (double)r->total_frames),
        .message = message,
    };
    int status = store_checkpoint(s->store, r->job.id, r->job.attempt, &cp, e);
    if (status)
        return status;
    for (size_t i = 0; i < cp.n_windows; i++)
        free(r->windows.list[i]);
    for (size_t i = 0; i < r->n_parts; i++)
        r->windows.list[i] = r->windows.list[cp.n_windows + i];
    r->windows.count = r->n_parts;
    r->window_unsaved = false;
    advance(&r->job, cp.progress, message);
    jobs_post(s, &r->job);
    return 0;
}

/* Windows that have been written since then need not be known. */
static int save_ahead(struct run *r, struct jobs *s, struct err *e)
{
    int status = 0;
    for (size_t i = 0; !status && i < r->ahead.count; i++) {
        const struct ahead_text *a = &r->ahead.list[i];
        if (a->until_frame > r->next_frame)
            status = store_ahead(s->store, r->job.id, r->job.attempt, a->until_frame,
                                 a->text, e);
    }
    if (!status)
        forget_ahead(r);
    return status;
}

static int save_finished(struct run *r, struct jobs *s, struct err *e)
{
    struct checkpoint_facts facts = {.task = r->job.task,
                                     .model = r->job.model,
                                     .language = r->language,
                                     .probability = r->probability,
                                     .seconds = r->seconds,
                                     .warning = r->warning,
                                     .report = r->report.list,
                                     .n_report = r->report.count};
    struct store_resume resume;
    struct checkpoint_texts texts;
    checkpoint_texts_init(&texts);
    int status = store_resume(s->store, r->job.id, &resume, e);
    if (!status) {
        status = checkpoint_finish(&resume, &facts, &texts, e);
        store_resume_release(&resume);
    }
    if (!status) {
        struct store_result result = {
            .transcript_json = buf_cstr(&texts.json),
            .transcript_text = buf_cstr(&texts.text),
            .quality_json = texts.quality.length ? buf_cstr(&texts.quality) : NULL,
            .language = r->language[0] ? r->language : NULL,
            .duration_seconds = r->seconds};
        status = store_complete(s->store, r->job.id, r->job.attempt, clock_now_ms(),
                                &result, e);
    }
    checkpoint_texts_release(&texts);
    return status;
}

static int save_crashed(struct run *r, struct jobs *s, struct err *e)
{
    char message[600];
    int64_t now = clock_now_ms();
    int limit = r->killed ? KILL_LIMIT : CRASH_LIMIT;
    (void)snprintf(
        message, sizeof message,
        "the worker died %d times at the same place of this recording (%.200s): "
        "the file or the model may be damaged, or the memory too small",
        limit, r->why.message);
    struct store_crash crash = {
        .limit = limit,
        .now_ms = now,
        .run_after_ms =
            now + queue_backoff_ms(r->job.attempt, CRASH_PAUSE_MS, CRASH_PAUSE_MOST_MS),
        .error_code = err_name(ERR_CRASH),
        .error_message = message};
    return store_crash(s->store, r->job.id, r->job.attempt, &crash, e);
}

static int save_put_off(struct run *r, struct jobs *s, struct err *e)
{
    int64_t pause = queue_backoff_ms(r->job.attempt, FULL_PAUSE_MS, FULL_PAUSE_MOST_MS);
    return store_put_off(s->store, r->job.id, r->job.attempt, clock_now_ms() + pause,
                         "Waiting until the server's disk has room", e);
}

static int save_end(struct run *r, struct jobs *s, struct err *e)
{
    const struct job *j = &r->job;
    switch (r->end) {
    case RUN_FINISHED:
        return save_finished(r, s, e);
    case RUN_FAILED:
        return store_fail(s->store, j->id, j->attempt, clock_now_ms(),
                          err_name(r->why.code), r->why.message, e);
    case RUN_CRASHED:
        return save_crashed(r, s, e);
    case RUN_RETURNED:
        return store_requeue(s->store, j->id, j->attempt, e);
    case RUN_PUT_OFF:
        return save_put_off(r, s, e);
    case RUN_LOST:
    case RUN_GOES_ON:
    default:
        return 0;
    }
}

static void log_end(const struct run *r)
{
    switch (r->end) {
    case RUN_FINISHED:
        log_event(LOG_INFO, r->job.id, "completed: %.1f s of audio in %.1f s", r->seconds,
                  (double)(clock_now_ms() - r->job.started_ms) / 1000);
        break;
    case RUN_FAILED:
        log_event(LOG_WARNING, r->job.id, "failed: %s", r->why.message);
        break;
    case RUN_CRASHED:
        log_event(LOG_ERROR, r->job.id, "its worker died: %s", r->why.message);
        break;
    case RUN_RETURNED:
        log_event(LOG_INFO, r->job.id, "put back: %s", r->why.message);
        break;
    case RUN_PUT_OFF:
        log_event(LOG_WARNING, r->job.id, "put off: %s", r->why.message);
        break;
    default:
        break;
    }
}

static void count_attempt(const struct run *r, struct meter *m)
{
    static const enum meter_attempt ends[] = {
        [RUN_GOES_ON] = METER_LOST,      [RUN_FINISHED] = METER_FINISHED,
        [RUN_FAILED] = METER_FAILED,     [RUN_CRASHED] = METER_CRASHED,
        [RUN_RETURNED] = METER_RETURNED, [RUN_PUT_OFF] = METER_PUT_OFF,
        [RUN_LOST] = METER_LOST,
    };
    meter_attempt(m, ends[r->end]);
}

/* What a finished attempt took, and writing it down, which began at `saved_ns`. */
static void count_work(const struct run *r, struct meter *m, int64_t saved_ns)
{
    int64_t now_ns = clock_monotonic_ns();
    if (r->end == RUN_FINISHED)
        meter_worked(m, &r->times, r->seconds - (double)r->from_frame / 100,
                     (double)(r->heard_ns - r->sent_ns) / 1e9,
                     (double)(now_ns - saved_ns) / 1e9);
}

/* Write the end and tell of the state that it led to. */
static int save_end_and_tell(struct run *r, struct jobs *s, struct err *e)
{
    struct job after;
    int64_t saved_ns = clock_monotonic_ns();
    int status = save_end(r, s, e);
    /* What cannot be put together will not be next time either. */
    if (r->end == RUN_FINISHED && (status == ERR_CORRUPT || status == ERR_TOO_LARGE)) {
        r->end = RUN_FAILED;
        r->why = *e;
        status = save_end(r, s, e);
    }
    if (status || r->end == RUN_LOST)
        return status;
    log_end(r);
    count_work(r, &s->meter, saved_ns);
    if (!store_get(s->store, r->job.id, &after, NULL)) {
        jobs_post(s, &after);
        jobs_ended(s, &after);
        if (after.status == JOB_PENDING) {
            queue_push(s->queue, after.id);
        } else {
            struct queue_end end = {.seconds = after.duration_seconds,
                                    .dead = r->end == RUN_CRASHED};
            queue_over(s->queue, after.id, &end);
        }
        job_release(&after);
    }
    return 0;
}

void run_save(struct run *r, const struct run_context *c, int64_t now_ns)
{
    struct jobs *s = c->jobs;
    struct err e = {0};
    if (!r->active || now_ns < r->not_before_ns)
        return;
    pthread_mutex_lock(&s->order);
    int status = 0;
    if (r->end != RUN_LOST && r->decoded_unsaved)
        status = save_decoded(r, s, &e);
    if (!status && r->end != RUN_LOST && r->window_unsaved)
        status = save_window(r, s, &e);
    if (!status && r->end != RUN_LOST && r->end != RUN_FINISHED)
        status = save_ahead(r, s, &e);
    bool over = r->end != RUN_GOES_ON && !r->working;
    if (!status && over)
        status = save_end_and_tell(r, s, &e);
    pthread_mutex_unlock(&s->order);
    if (status) {
        refused(r, status, &e, now_ns);
    } else if (over) {
        count_attempt(r, &s->meter);
        run_release(r);
    }
}

void run_renew(struct run *r, const struct run_context *c)
{
    struct err e = {0};
    if (!r->active || r->end == RUN_LOST)
        return;
    int status = queue_renew(c->jobs->queue, r->job.id, r->job.attempt, &e);
    if (status == ERR_STATE)
        refused(r, status, &e, 0);
    else if (status)
        log_event(LOG_WARNING, r->job.id, "its lease is not renewed: %s", e.message);
}
