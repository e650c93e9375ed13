#include "job/jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/retired.h"
#include "catalog/catalog.h"
#include "engine/whisper.h"
#include "job/health.h"
#include "job/models_door.h"
#include "job/news.h"
#include "job/pulls.h"
#include "job/fetcher.h"
#include "job/held.h"
#include "job/resumable.h"
#include "job/service.h"
#include "job/shared.h"
#include "job/staging.h"
#include "job/state.h"
#include "job/supervisor.h"
#include "job/webhooks.h"
#include "job/workers.h"
#include "media/decode.h"
#include "net/guard.h"
#include "queue/redis.h"
#include "store/holds.h"
#include "store/share.h"
#include "store/webhooks.h"

/* A transcript of 10 hours takes about 10 MB. */
#define TRANSCRIPT_MAX_BYTES (256u << 20)
#define OTHERS_AGE_MS        86400000 /* what others may still be writing is younger */
#define LOOK_AGAIN_SECONDS   4        /* longer than a listener takes to come back */

/* A job that is still being fetched needs what has come of it; else parts are those of
 * uploads. */
static int is_wanted(void *arg, const char *id, bool is_part)
{
    struct jobs *s = arg;
    struct job j;
    int status = store_get(s->store, id, &j, NULL);
    if (status == ERR_NOT_FOUND)
        return news_may_be_coming(s, id) || (!is_part && jobs_holds(s, id))
                   ? 1
                   : resumable_wanted(s, id);
    if (status)
        return status;
    bool wanted = is_part ? !j.file_bytes && !job_state_ended(j.status) : j.audio_present;
    if (!wanted && !is_part && j.retain_days != JOB_RETAIN_NONE)
        wanted = jobs_holds(s, id);
    job_release(&j);
    return wanted || !is_part ? wanted : resumable_wanted(s, id);
}

void jobs_sweep(struct jobs *s)
{
    struct err why;
    int removed = blob_sweep(s->blobs, s->beside ? OTHERS_AGE_MS : 0, is_wanted, s, &why);
    if (removed < 0)
        log_warning("leftovers in the storage folder stay for now: %s", why.message);
    else if (removed)
        log_info("removed %d unfinished upload(s)", removed);
    /* Of those whose job was removed beside us, the words are still in the index. */
    if (removed > 0)
        atomic_store(&s->tidy_wanted, true);
}

struct leftovers {
    struct jobs *jobs; /* borrowed */
    size_t count;
};

static int count_leftover(void *arg, const char *id, bool is_part)
{
    struct leftovers *l = arg;
    int wanted = is_wanted(l->jobs, id, is_part);
    l->count += wanted == 0;
    return wanted < 0 ? wanted : 1;
}

/* Whether others may be writing into the same storage. One whose connection broke just
 * now is not seen, though it is alive, and what it has accepted must not be taken for a
 * leftover: before anything is removed, we look a second time. */
static int look_around(struct jobs *s, struct err *e)
{
    const struct timespec pause = {.tv_sec = LOOK_AGAIN_SECONDS};
    struct leftovers l = {.jobs = s};
    int64_t others = 0;
    int status = store_others(s->store, &others, e);
    s->beside = others > 0;
    if (status || s->beside || !store_is_shared(s->store))
        return status;
    (void)blob_sweep(s->blobs, 0, count_leftover, &l, NULL);
    if (!l.count)
        return 0;
    nanosleep(&pause, NULL);
    status = store_others(s->store, &others, e);
    s->beside = others > 0;
    return status;
}

/* A bucket that is away at the moment is no reason not to begin: what was accepted waits
 * for it. What an operator must mend is said at once. */
static void try_storage(struct jobs *s)
{
    struct err e;
    if (blob_store_is_remote(s->blobs) && blob_store_try(s->blobs, &e))
        log_error("the storage cannot be used now: %s", e.message);
}

/* The former process is dead: what it held goes back into the queue, what it left half
 * done is removed. Others may be at work on a shared database; theirs stays theirs. */
static int go_on(struct jobs *s, struct err *e)
{
    int64_t count = 0;
    int status = queue_recover(s->queue, true, &count, e);
    if (status)
        return status;
    if (count)
        log_info("going on with %lld interrupted job(s)", (long long)count);
    try_storage(s);
    if (s->has_doors) /* elsewhere nothing is half uploaded */
        status = look_around(s, e);
    if (!status && s->has_doors)
        jobs_sweep(s);
    s->beside = store_is_shared(s->store); /* others may come, and so do our own */
    return status;
}

static int open_queue(struct jobs *s, const struct config *c, struct err *e)
{
    if (!c->redis_url)
        return queue_embedded_open(&s->queue, s->store, e);
    struct redis_options options = {
        .url = c->redis_url, .ca_file = c->redis_ca_file, .name = c->redis_namespace};
    return queue_redis_open(&s->queue, s->store, &options, e);
}

static int open_common(struct jobs *s, struct err *e)
{
    const struct config *c = s->config;
    struct store_options options = {.exclusive = true,
                                    .connections = (int)c->database_connections};
    int status = store_open(&s->store, c->database_url, &options, e);
    if (!status && !store_is_shared(s->store) && !(s->has_doors && s->has_workers))
        status = err_set(e, ERR_UNSUPPORTED,
                         "%s needs a database that several processes can share: set "
                         "DATABASE_URL=postgresql://…",
                         s->has_doors ? "EMBEDDED_WORKERS=off" : "`worker`");
    if (!status)
        status = blob_store_open_as_set(&s->blobs, c, STORAGE_RESERVE_BYTES, e);
    if (!status)
        status = staging_new(&s->staging, s, e);
    if (!status)
        status = pours_new(&s->pours, e);
    if (!status)
        status = open_queue(s, c, e);
    if (!status)
        status = events_new(&s->events, e);
    if (!status)
        status = key_set_new(&s->keys, e);
    if (!status)
        status = held_new(&s->held, e);
    if (!status)
        status = resumable_list_new(&s->written, e);
    if (!status)
        models_refresh_default(s);
    return status ? status : go_on(s, e);
}

static int new_guards(const struct config *c, struct net_guard **fetch,
                      struct net_guard **webhook, struct err *e)
{
    int status = net_guard_new(fetch, c->url_fetch_allow, e);
    if (status)
        return err_prefix(e, "URL_FETCH_ALLOW");
    status = net_guard_new(webhook, c->webhook_allow, e);
    if (!status)
        return 0;
    net_guard_free(*fetch);
    return err_prefix(e, "WEBHOOK_ALLOW");
}

static void free_guard(void *guard)
{
    net_guard_free(guard);
}

static int set_guards(struct jobs *s, struct err *e)
{
    struct net_guard *fetch, *webhook;
    int status = new_guards(s->config, &fetch, &webhook, e);
    if (status)
        return status;
    retire(&s->retired, s->fetch_guard, free_guard);
    retire(&s->retired, s->webhook_guard, free_guard);
    s->fetch_guard = fetch;
    s->webhook_guard = webhook;
    return 0;
}

int jobs_check_settings(const struct config *c, struct err *e)
{
    struct net_guard *fetch, *webhook;
    if (strcmp(c->language, "auto") != 0 && whisper_language_find(c->language) < 0)
        return err_set(e, ERR_INVALID, "WHISPER_LANGUAGE is \"%s\", which is no language",
                       c->language);
    int status = media_formats_check(c->allowed_formats, e);
    if (!status)
        status = new_guards(c, &fetch, &webhook, e);
    if (!status) {
        net_guard_free(fetch);
        net_guard_free(webhook);
    }
    return status;
}

int jobs_reload(struct jobs *s, struct err *e)
{
    int status = s->has_doors ? set_guards(s, e) : 0;
    models_refresh_default(s);
    return status;
}

/* What only a process with doors does. */
static int open_doors(struct jobs *s, struct err *e)
{
    const struct config *c = s->config;
    int status = set_guards(s, e);
    if (!status)
        status = pulls_new(&s->pulls, c, e);
    if (!status)
        status = webhooks_new(&s->webhooks, s, e);
    if (!status)
        status = fetcher_new(&s->fetcher, s, e);
    return status;
}

static int open_as(struct jobs **out, const struct config *c, bool has_doors,
                   struct err *e)
{
    *out = NULL;
    struct jobs *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->config = c;
    s->has_doors = has_doors;
    s->has_workers = !has_doors || c->embedded_workers;
    pthread_mutex_init(&s->order, NULL);
    pthread_mutex_init(&s->stranded.lock, NULL);
    meter_init(&s->meter);
    int status = open_common(s, e);
    if (!status && has_doors)
        status = open_doors(s, e);
    if (!status)
        status = supervisor_start(&s->supervisor, s, e);
    if (!status && has_doors)
        status = fetcher_start(s->fetcher, e);
    if (!status)
        status = health_start(&s->health, s, e);
    if (status) {
        jobs_close(s);
        return status;
    }
    news_start(s);
    *out = s;
    return 0;
}

int jobs_open(struct jobs **out, const struct config *c, struct err *e)
{
    return open_as(out, c, true, e);
}

int jobs_open_worker(struct jobs **out, const struct config *c, struct err *e)
{
    return open_as(out, c, false, e);
}

void jobs_close(struct jobs *s)
{
    if (!s)
        return;
    news_stop(s);
    health_stop(s->health);
    blob_store_stop(s->blobs);
    pulls_free(s->pulls);
    fetcher_close(s->fetcher);
    staging_stop(s->staging); /* it wakes the supervisor */
    supervisor_close(s->supervisor);
    webhooks_close(s->webhooks);
    net_guard_free(s->fetch_guard);
    net_guard_free(s->webhook_guard);
    retired_free(s->retired);
    staging_free(s->staging);
    pours_free(s->pours);
    queue_close(s->queue);
    blob_store_close(s->blobs);
    store_close(s->store);
    events_free(s->events);
    key_set_free(s->keys);
    held_free(s->held);
    resumable_list_free(s->written);
    stranded_release(&s->stranded.known);
    meter_release(&s->meter);
    pthread_mutex_destroy(&s->stranded.lock);
    pthread_mutex_destroy(&s->order);
    free(s);
}

int jobs_allow(struct jobs *s, const struct queue_rate *rate, struct queue_allowance *out)
{
    return s ? queue_allow(s->queue, rate, out) : ERR_UNSUPPORTED;
}

struct meter *jobs_meter(struct jobs *s)
{
    return &s->meter;
}

struct store *jobs_store(struct jobs *s)
{
    return s->store;
}

int jobs_at_once(struct jobs *s)
{
    int sum = workers_at_once(s->store), own = supervisor_workers(s->supervisor);
    return sum > own ? sum : own; /* its own row may be on its way */
}

void jobs_copy_cut(char *out, size_t size, const char *text)
{
    size_t length = strlen(text);
    if (length >= size)
        length = size - 1;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
        length--;
    memcpy(out, text, length);
    out[length] = '\0';
}

void jobs_post(struct jobs *s, const struct job *j)
{
    struct job_event event = {
        .status = j->status, .progress = j->progress, .time_ms = clock_now_ms()};
    memcpy(event.job_id, j->id, ID_SIZE);
    const char *message = j->status == JOB_FAILED && j->error_message ? j->error_message
                          : j->message                                ? j->message
                                                                      : "";
    jobs_copy_cut(event.message, sizeof event.message, message);
    events_post(s->events, &event);
    if (job_state_ended(j->status))
        webhooks_wake(s->webhooks);
}

int jobs_get(struct jobs *s, const char *id, struct job *out, struct err *e)
{
    if (!id_valid(id))
        return err_set(e, ERR_NOT_FOUND, "there is no job of that name");
    return store_get(s->store, id, out, e);
}

int jobs_of_caller(struct jobs *s, const char *caller, const char *id, struct err *e)
{
    struct job j;
    int status = jobs_get(s, id, &j, e);
    if (status)
        return status;
    bool own = !caller || !strcmp(caller, j.caller);
    job_release(&j);
    return own ? 0 : err_set(e, ERR_NOT_FOUND, "there is no job %.36s", id);
}

int jobs_list(struct jobs *s, const struct job_filter *f, struct job_list *out,
              struct err *e)
{
    return store_list(s->store, f, out, e);
}

int jobs_transcript(struct jobs *s, const char *id, struct transcript *out, struct err *e)
{
    if (!id_valid(id))
        return err_set(e, ERR_NOT_FOUND, "there is no job of that name");
    struct buf json;
    buf_init(&json, TRANSCRIPT_MAX_BYTES);
    int status = store_transcript(s->store, id, &json, e);
    if (!status) {
        transcript_init(out);
        status = transcript_parse(out, buf_cstr(&json), json.length, e);
        if (status)
            transcript_release(out);
    }
    buf_release(&json);
    return status;
}

static int add_segments(const char *window, struct transcript *news, struct err *e)
{
    struct transcript t;
    int status = transcript_parse(&t, window, strlen(window), e);
    if (status)
        return status;
    for (size_t i = 0; !status && i < t.n_segments; i++)
        if (transcript_add(news, &t.segments[i]))
            status = err_set(e, ERR_NOMEM, "out of memory");
    transcript_release(&t);
    return status;
}

int jobs_heard(struct jobs *s, const char *id, int64_t *position, struct transcript *news,
               struct err *e)
{
    struct store_windows windows;
    int status = store_windows(s->store, id, *position, &windows, e);
    if (status)
        return status;
    for (size_t i = 0; !status && i < windows.count; i++)
        status = add_segments(windows.list[i], news, e);
    if (!status)
        *position += (int64_t)windows.count;
    store_windows_release(&windows);
    return status;
}

/* After a change that was committed: read the job, tell of it. Call with `order` held. */
static int tell(struct jobs *s, const char *id, struct job *out, struct err *e)
{
    int status = store_get(s->store, id, out, e);
    if (!status)
        jobs_post(s, out);
    return status;
}

int jobs_cancel(struct jobs *s, const char *id, struct job *out, struct err *e)
{
    if (!id_valid(id))
        return err_set(e, ERR_NOT_FOUND, "there is no job of that name");
    pthread_mutex_lock(&s->order);
    int status = store_cancel(s->store, id, clock_now_ms(), e);
    if (!status)
        status = tell(s, id, out, e);
    if (!status)
        jobs_ended(s, out);
    pthread_mutex_unlock(&s->order);
    if (!status) {
        struct queue_end end = {.seconds = out->duration_seconds};
        queue_over(s->queue, id, &end);
        supervisor_stop_job(s->supervisor, id, out->attempt);
        fetcher_stop(s->fetcher, id);
    }
    return status;
}

int jobs_retry(struct jobs *s, const char *id, struct job *out, struct err *e)
{
    if (!id_valid(id))
        return err_set(e, ERR_NOT_FOUND, "there is no job of that name");
    pthread_mutex_lock(&s->order);
    int status = store_retry(s->store, id, e);
    if (!status)
        status = tell(s, id, out, e);
    pthread_mutex_unlock(&s->order);
    if (!status) {
        queue_push(s->queue, id);
        supervisor_wake(s->supervisor);
        fetcher_wake(s->fetcher);
    }
    return status;
}

int jobs_start_webhooks(struct jobs *s, jobs_present_fn present, struct err *e)
{
    return webhooks_start(s->webhooks, present, e);
}

int jobs_webhook_report(struct jobs *s, const char *id, struct job_webhook_report *out,
                        struct err *e)
{
    struct store_webhook_state row;
    int status = store_webhook_state(s->store, id, &row, e);
    if (status)
        return status;
    *out = (struct job_webhook_report){
        .attempts = row.attempts, .http_status = row.http_status, .last_ms = row.last_ms};
    if (!strcmp(row.state, "waiting"))
        out->next_ms = row.next_ms;
    (void)net_url_origin(row.url, out->origin, sizeof out->origin);
    (void)snprintf(out->state, sizeof out->state, "%s", row.state);
    jobs_copy_cut(out->error, sizeof out->error, row.error);
    store_webhook_state_release(&row);
    return 0;
}

int jobs_forget(struct jobs *s, const char *id, struct err *e)
{
    struct job j = {0};
    int status = store_hold_check(s->store, id, e);
    if (!status)
        status = blob_store_writable(s->blobs, e);
    if (status)
        return status;
    pthread_mutex_lock(&s->order);
    bool was_live = !store_cancel(s->store, id, clock_now_ms(), NULL);
    status = store_get(s->store, id, &j, e);
    if (!status && was_live)
        jobs_post(s, &j);
    /* The row first: a recording without a row is swept, a row without one is a riddle.
     */
    if (!status)
        status = store_remove(s->store, id, e);
    if (status == ERR_NOT_FOUND &&
        j.id[0]) /* a hold came between, or somebody was faster */
        status = store_hold_check(s->store, id, e) ? ERR_HELD : ERR_NOT_FOUND;
    if (!status) {
        struct queue_end end = {.seconds = j.duration_seconds};
        queue_over(s->queue, id, &end);
        atomic_store(&s->tidy_wanted, true);
    }
    pthread_mutex_unlock(&s->order);
    if (!status && was_live) {
        supervisor_stop_job(s->supervisor, id, j.attempt);
        fetcher_stop(s->fetcher, id);
    }
    bool coming = !j.file_bytes; /* from a URL: it may have come in part */
    bool fleeting = j.retain_days == JOB_RETAIN_NONE;
    job_release(&j);
    if (!status)
        status = fleeting ? blob_remove(s->blobs, id, e) /* no copy has it */
                          : jobs_remove_recording(s, id, e);
    if (!status && coming)
        status = blob_discard(s->blobs, id, NULL, e);
    return status;
}

int jobs_delete(struct jobs *s, const char *id, struct err *e)
{
    if (!id_valid(id))
        return err_set(e, ERR_NOT_FOUND, "there is no job of that name");
    return jobs_forget(s, id, e);
}

int jobs_subscribe(struct jobs *s, const char *job_id, job_event_fn fn, void *arg)
{
    return events_subscribe(s->events, job_id, fn, arg);
}

void jobs_unsubscribe(struct jobs *s, int handle)
{
    events_unsubscribe(s->events, handle);
}

int jobs_ready(struct jobs *s, struct err *e)
{
    return health_ready(s->health, e);
}

int jobs_alive(struct jobs *s, struct err *e)
{
    int status = supervisor_alive(s->supervisor, e);
    return status ? status : health_alive(s->health, e);
}
