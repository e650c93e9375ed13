#include "job/fetcher.h"

#include "base/clock.h"
#include "base/log.h"
#include "job/quota.h"
#include "job/supervisor.h"
#include "net/fetch.h"
#include "store/sources.h"

#include <errno.h>

#define THREADS      3
#define TRIES        4 /* the first and three more */
#define REDIRECTS    5
#define LEASE_MS     20000
#define RENEW_NS     INT64_C(1000000000)
#define LOOK_MS      1000 /* for what is due again */
#define PAUSE_MS     1000 /* before the second try; then three times as long, each */
#define PAUSE_MAX_MS 60000
#define FULL_MS      2000 /* until it is tried again when a disk is full */
#define STATE_MAX    (4u << 20)

struct download;

struct fetcher {
    struct jobs *jobs; /* borrowed */
    pthread_t threads[THREADS];
    size_t started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closing;                      /* under lock */
    uint64_t rung;                     /* under lock: how often there was something new */
    struct download *current[THREADS]; /* borrowed, under lock; NULL: none */
};

/* One try at one source. */
struct download {
    struct fetcher *f;          /* borrowed */
    struct store_source source; /* owned */
    struct blob_writer *blob;   /* owned */
    int64_t renew_at_ns;
    bool judged;
    bool stopped; /* under the fetcher's lock */
};

/* ---- what comes ------------------------------------------------------------------ */

static bool is_closing(struct fetcher *f)
{
    pthread_mutex_lock(&f->lock);
    bool closing = f->closing;
    pthread_mutex_unlock(&f->lock);
    return closing;
}

static bool is_stopped(struct download *d)
{
    pthread_mutex_lock(&d->f->lock);
    bool stopped = d->stopped;
    pthread_mutex_unlock(&d->f->lock);
    return stopped;
}

static int64_t max_bytes(const struct download *d)
{
    return d->f->jobs->config->max_file_size_mb * 1048576;
}

static int too_large(const struct download *d, struct err *e)
{
    return err_set(e, ERR_TOO_LARGE, "the recording is larger than %lld MB, the limit",
                   (long long)d->f->jobs->config->max_file_size_mb);
}

/* What is here is not wanted. */
static int begin_anew(struct download *d, struct err *e)
{
    const struct blob_sitting sitting = {.id = d->source.job_id};
    blob_abort(d->blob);
    d->blob = NULL;
    d->source.received = 0;
    return blob_resume(d->f->jobs->blobs, &sitting, &d->blob, e);
}

/* Go on where the last try let go; what one that died has left nobody knows. */
static int sit_down(struct download *d, struct err *e)
{
    const struct blob_sitting sitting = {
        .id = d->source.job_id, .state = d->source.state, .clean = true};
    int status = blob_resume(d->f->jobs->blobs, &sitting, &d->blob, e);
    if (status == ERR_NOT_FOUND || status == ERR_CORRUPT)
        return begin_anew(d, e);
    if (!status)
        d->source.received = blob_bytes(d->blob);
    return status;
}

/* The rest of what is here, or all of it anew. */
static int on_begin(void *arg, const struct net_answer *a, struct err *e)
{
    struct download *d = arg;
    bool rest = a->status == 206;
    if (rest && a->range_start != d->source.received)
        return err_set(e, ERR_NETWORK, "the server sent another part than was asked for");
    int64_t start = rest ? d->source.received : 0;
    if (a->length > max_bytes(d) - start)
        return too_large(d, e);
    free(d->source.validator);
    d->source.validator = strdup(a->validator);
    if (!d->source.validator)
        return err_set(e, ERR_NOMEM, "out of memory");
    d->judged = start >= JOBS_HEAD_BYTES;
    return start == blob_bytes(d->blob) ? 0 : begin_anew(d, e);
}

static int judge(struct download *d, bool complete, struct err *e)
{
    uint8_t head[JOBS_HEAD_BYTES];
    if (d->judged || (blob_bytes(d->blob) < JOBS_HEAD_BYTES && !complete))
        return 0;
    size_t n = blob_head(d->blob, head, sizeof head);
    d->judged = true;
    return jobs_judge_head(d->f->jobs, head, n, e);
}

static int on_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct download *d = arg;
    if ((int64_t)length > max_bytes(d) - blob_bytes(d->blob))
        return too_large(d, e);
    int status = blob_write(d->blob, bytes, length, e);
    return status ? status : judge(d, false, e);
}

/* Tell how far it is, in words; ours no more when the job was cancelled or deleted. */
static int on_tick(void *arg, struct err *e)
{
    struct download *d = arg;
    struct jobs *s = d->f->jobs;
    char message[80];
    struct job job;
    int64_t now = clock_monotonic_ns();
    if (is_closing(d->f))
        return err_set(e, ERR_CANCELLED, "the service ends");
    if (is_stopped(d))
        return err_set(e, ERR_STATE, "the job was cancelled");
    if (now < d->renew_at_ns)
        return 0;
    d->renew_at_ns = now + RENEW_NS;
    (void)snprintf(message, sizeof message, "Downloading, %lld MB so far",
                   (long long)(blob_bytes(d->blob) >> 20));
    pthread_mutex_lock(&s->order);
    int status =
        store_source_renew(s->store, &d->source, clock_now_ms() + LEASE_MS, message, e);
    if (!status && !store_get(s->store, d->source.job_id, &job, NULL)) {
        jobs_post(s, &job);
        job_release(&job);
    }
    pthread_mutex_unlock(&s->order);
    return status == ERR_STATE ? status : 0; /* a busy database is no reason to stop */
}

/* ---- how it ends ----------------------------------------------------------------- */

static void tell(struct jobs *s, const char *id)
{
    struct job job;
    if (store_get(s->store, id, &job, NULL))
        return;
    jobs_post(s, &job);
    jobs_ended(s, &job);
    job_release(&job);
}

static void fail(struct download *d, const struct err *why)
{
    struct jobs *s = d->f->jobs;
    struct err e = {0};
    blob_abort(d->blob);
    d->blob = NULL;
    pthread_mutex_lock(&s->order);
    int status = store_source_fail(s->store, &d->source, clock_now_ms(),
                                   err_name(why->code), why->message, &e);
    if (!status)
        tell(s, d->source.job_id);
    pthread_mutex_unlock(&s->order);
    if (!status)
        log_event(LOG_WARNING, d->source.job_id, "not fetched: %s", why->message);
    else if (status != ERR_STATE)
        log_event(LOG_ERROR, d->source.job_id, "not saved: %s", e.message);
}

static int save_pause(struct download *d, bool counts, int64_t next_ms,
                      const char *message, struct err *e)
{
    struct jobs *s = d->f->jobs;
    pthread_mutex_lock(&s->order);
    int status = store_source_pause(s->store, &d->source, counts, next_ms, message, e);
    if (!status)
        tell(s, d->source.job_id);
    pthread_mutex_unlock(&s->order);
    return status;
}

/* Wait for a second; false: there is no more time. */
static bool rest(struct download *d)
{
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock(&d->f->lock);
    while (!d->f->closing && !d->stopped && !error)
        error = pthread_cond_timedwait(&d->f->changed, &d->f->lock, &until);
    bool may = !d->f->closing && !d->stopped;
    pthread_mutex_unlock(&d->f->lock);
    return may;
}

/* Make what is here durable, if the rest can be asked for. */
static void keep(struct download *d)
{
    struct err e;
    struct buf state;
    d->source.received = 0;
    free(d->source.state);
    d->source.state = NULL;
    if (!d->blob)
        return;
    buf_init(&state, STATE_MAX);
    if (d->source.validator && *d->source.validator &&
        !blob_sync(d->blob, true, &state, &d->source.received, &e))
        d->source.state = buf_take(&state);
    buf_release(&state);
    if (d->source.state) {
        blob_pause(d->blob);
    } else {
        d->source.received = 0;
        blob_abort(d->blob);
    }
    d->blob = NULL;
}

/* The database could not do it just now; it is asked again. */
static bool is_ours(int status)
{
    return status == ERR_FULL || status == ERR_UNSURE || status == ERR_AWAY ||
           status == ERR_TIMEOUT || status == ERR_IO || status == ERR_NOMEM;
}

/* Try again later, from what is here. */
static void pause_until(struct download *d, bool counts, int64_t next_ms,
                        const char *message)
{
    struct err e = {0};
    keep(d);
    int status = save_pause(d, counts, next_ms, message, &e);
    /* Else nobody would look at it before its lease lapses, and the try would count. */
    while (is_ours(status) && rest(d))
        status = save_pause(d, counts, next_ms, message, &e);
    if (status && status != ERR_STATE)
        log_event(LOG_ERROR, d->source.job_id, "not saved: %s", e.message);
}

static void retry(struct download *d, const struct err *why, long retry_after_seconds)
{
    int64_t pause = PAUSE_MS;
    for (int i = 1; i < d->source.attempts; i++)
        pause *= 3;
    if (retry_after_seconds > 0 && retry_after_seconds * INT64_C(1000) > pause)
        pause = retry_after_seconds * INT64_C(1000);
    if (pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    log_event(LOG_INFO, d->source.job_id, "fetched again in %lld s: %s",
              (long long)(pause / 1000), why->message);
    pause_until(d, true, clock_now_ms() + pause, "Downloading: trying again");
}

/* Ours to mend: the try does not count. */
static void wait_for_us(struct download *d, const struct err *why)
{
    log_event(LOG_WARNING, d->source.job_id, "fetched later: %s", why->message);
    pause_until(d, false, clock_now_ms() + FULL_MS,
                why->code == ERR_FULL
                    ? "Downloading: waiting until the server's disk has room"
                    : "Downloading: waiting until the server can store it");
}

/* The recording is here, whatever becomes of the database. */
static int save_done(struct download *d, const struct blob_info *info, struct err *e)
{
    struct jobs *s = d->f->jobs;
    int status;
    do {
        pthread_mutex_lock(&s->order);
        status = store_source_done(s->store, &d->source, info->bytes, info->sha256,
                                   clock_now_ms(), e);
        if (!status)
            tell(s, d->source.job_id);
        pthread_mutex_unlock(&s->order);
        if (is_ours(status))
            log_event(LOG_ERROR, d->source.job_id, "not saved yet, trying again: %s",
                      e->message);
    } while (is_ours(status) && rest(d));
    return status;
}

static int finish(struct download *d, struct err *e)
{
    struct jobs *s = d->f->jobs;
    struct blob_info info;
    int status = judge(d, true, e);
    if (!status && !blob_bytes(d->blob))
        status = err_set(e, ERR_INVALID, "there is nothing at the URL: 0 bytes came");
    if (status)
        return status;
    status = blob_finish(d->blob, &info, e);
    d->blob = NULL;
    if (status)
        return status;
    status = save_done(d, &info, e);
    if (status == ERR_QUOTA)
        (void)blob_remove(s->blobs, d->source.job_id, NULL);
    if (status)
        return status;
    log_event(LOG_INFO, d->source.job_id, "fetched: %lld bytes", (long long)info.bytes);
    queue_push(s->queue, d->source.job_id);
    supervisor_wake(s->supervisor);
    return 0;
}

/* Whether the job waits for its recording no more. Else another attempt has overtaken
 * this one, whose lease had lapsed, and the file is that one's. */
static bool is_over(struct download *d)
{
    struct job job;
    struct err e = {0};
    int status = store_get(d->f->jobs->store, d->source.job_id, &job, &e);
    bool over = status == ERR_NOT_FOUND;
    if (!status) {
        over = job.status == JOB_CANCELLED || job.status == JOB_FAILED;
        job_release(&job);
    }
    return over;
}

/* Cancelled or deleted meanwhile. The file first: the source is nobody's before that. */
static void drop(struct download *d)
{
    struct jobs *s = d->f->jobs;
    struct err e = {0};
    blob_abort(d->blob);
    d->blob = NULL;
    if (!is_over(d)) {
        log_event(LOG_INFO, d->source.job_id, "its download goes on elsewhere");
        return;
    }
    (void)blob_remove(s->blobs, d->source.job_id, NULL);
    if (store_source_reset(s->store, &d->source, &e))
        log_event(LOG_WARNING, d->source.job_id, "not saved: %s", e.message);
}

static bool is_passing(long status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

/* The server's answer was none that we can use. */
static int judge_status(const struct net_answer *a, struct err *e)
{
    if (a->status == 200 || a->status == 206)
        return 0;
    int code = a->status == 416 || is_passing(a->status) ? ERR_NETWORK
               : a->status == 404 || a->status == 410    ? ERR_NOT_FOUND
               : a->status == 401 || a->status == 403    ? ERR_DENIED
                                                         : ERR_INVALID;
    return err_set(e, code, "the server of the recording answered %ld", a->status);
}

static bool is_worth_another(int status)
{
    return status == ERR_NETWORK || status == ERR_TIMEOUT || status == ERR_NOMEM;
}

/* ---- one try --------------------------------------------------------------------- */

static int fetch(struct download *d, struct net_answer *answer, struct err *e)
{
    const struct config *c = d->f->jobs->config;
    struct net_request request = {
        .guard = d->f->jobs->fetch_guard,
        .url = d->source.url,
        .redirects = REDIRECTS,
        .stall_seconds = c->url_fetch_timeout_seconds,
        .total_seconds = c->time_limit_seconds,
        .from = d->source.received,
        .validator = d->source.validator,
        .begin = on_begin,
        .data = on_data,
        .tick = on_tick,
        .arg = d,
    };
    int status = net_fetch(&request, answer, e);
    return status ? status : judge_status(answer, e);
}

static void run_one(struct download *d)
{
    struct jobs *s = d->f->jobs;
    struct net_answer answer = {0};
    struct err e = {0};
    if (!s->config->url_fetch) {
        (void)err_set(&e, ERR_DENIED, "this server no longer fetches recordings by URL");
        fail(d, &e);
        return;
    }
    int status = quota_admit(s, d->source.job_id, &e);
    if (is_ours(status)) {
        wait_for_us(d, &e);
        return;
    }
    if (!status)
        status = sit_down(d, &e);
    if (!status)
        status = fetch(d, &answer, &e);
    if (!status)
        status = finish(d, &e);
    if (!status)
        return;
    if (answer.status == 416) /* what we have is not the beginning of what is there */
        d->source.validator[0] = '\0';
    if (is_closing(d->f))
        pause_until(d, false, 0, "Downloading");
    else if (status == ERR_STATE || is_stopped(d))
        drop(d);
    else if (status == ERR_FULL || status == ERR_UNSURE || status == ERR_AWAY)
        /* No fault of the source's, however long it takes. */
        wait_for_us(d, &e);
    else if (is_worth_another(status) && d->source.attempts < TRIES)
        retry(d, &e, answer.retry_after_seconds);
    else
        fail(d, &e);
}

/* ---- the threads ----------------------------------------------------------------- */

/* `d` instead of `before`, one of them NULL: fetcher_stop finds who is in this list. */
static void replace_current(struct fetcher *f, const struct download *before,
                            struct download *d)
{
    pthread_mutex_lock(&f->lock);
    size_t i = 0;
    while (f->current[i] != before)
        i++;
    f->current[i] = d;
    pthread_mutex_unlock(&f->lock);
}

static bool claim_and_run(struct fetcher *f)
{
    struct download d = {.f = f};
    struct err e = {0};
    int64_t now = clock_now_ms();
    int status = store_source_claim(f->jobs->store, now, now + LEASE_MS, &d.source, &e);
    if (status == ERR_NOT_FOUND)
        return false;
    if (status) {
        log_error("no download can be begun: %s", e.message);
        return false;
    }
    replace_current(f, NULL, &d);
    run_one(&d);
    replace_current(f, &d, NULL);
    blob_pause(d.blob);
    store_source_release(&d.source);
    return true;
}

/* Until there is something new, or it is time to look for what is due again. */
static void wait_for_news(struct fetcher *f, uint64_t *heard)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_MS / 1000;
    int error = 0;
    pthread_mutex_lock(&f->lock);
    while (!f->closing && f->rung == *heard && !error)
        error = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    *heard = f->rung;
    pthread_mutex_unlock(&f->lock);
}

static void *run(void *arg)
{
    struct fetcher *f = arg;
    uint64_t heard = 0;
    while (!is_closing(f))
        if (!claim_and_run(f)) {
            if (!f->jobs->config->url_fetch)
                break; /* nothing new can come */
            wait_for_news(f, &heard);
        }
    return NULL;
}

int fetcher_new(struct fetcher **out, struct jobs *s, struct err *e)
{
    struct fetcher *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_condattr_t monotonic;
    f->jobs = s;
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = f;
    return 0;
}

int fetcher_start(struct fetcher *f, struct err *e)
{
    int status = store_source_recover(f->jobs->store, e);
    for (size_t i = 0; !status && i < THREADS; i++) {
        errno = pthread_create(&f->threads[i], NULL, run, f);
        f->started += !errno;
        status = errno ? err_errno(e, "cannot start a thread") : 0;
    }
    return status;
}

void fetcher_close(struct fetcher *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->closing = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < f->started; i++)
        pthread_join(f->threads[i], NULL);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void fetcher_wake(struct fetcher *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->rung++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

void fetcher_stop(struct fetcher *f, const char *job_id)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < THREADS; i++)
        if (f->current[i] && !strcmp(f->current[i]->source.job_id, job_id))
            f->current[i]->stopped = true;
    pthread_mutex_unlock(&f->lock);
}
