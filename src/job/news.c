#include "job/news.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/events.h"
#include "job/fetcher.h"
#include "job/held.h"
#include "job/state.h"
#include "job/supervisor.h"
#include "job/webhooks.h"

#include <sodium.h>

#define MOST_WANTED 1024
#define COMING_MS   86400000
#define WOKEN       16

static void post(struct jobs *s, const char *id, enum job_status status, int progress,
                 const char *message)
{
    struct job_event event = {
        .status = status, .progress = progress, .time_ms = clock_now_ms()};
    memcpy(event.job_id, id, ID_SIZE);
    jobs_copy_cut(event.message, sizeof event.message, message);
    events_post(s->events, &event);
}

/* News were missed, so that somebody may wait for an event that came and went. */
static void look_at_what_is_waited_for(struct jobs *s)
{
    char(*ids)[ID_SIZE] = mem_array(MOST_WANTED, ID_SIZE);
    size_t count = ids ? events_wanted(s->events, ids, MOST_WANTED) : 0;
    for (size_t i = 0; i < count; i++) {
        struct job j;
        if (store_get(s->store, ids[i], &j, NULL))
            continue;
        const char *message =
            j.status == JOB_FAILED && j.error_message ? j.error_message : j.message;
        post(s, j.id, j.status, j.progress, message ? message : "");
        job_release(&j);
    }
    free(ids);
}

/* A file does not say who changed it: the news may be late ones of our own. So what is
 * told is how the job is now, in its order among the events of this process. */
static void post_as_it_is(struct jobs *s, const char *id)
{
    struct job j;
    pthread_mutex_lock(&s->order);
    if (!store_get(s->store, id, &j, NULL)) {
        jobs_post(s, &j);
        job_release(&j);
    }
    pthread_mutex_unlock(&s->order);
}

/* Whoever removes a row beside us leaves the recording to us: a command line need not
 * know where the storage is. What we do not hear of is swept when a service begins. */
static void clear_up(struct jobs *s, const char *id)
{
    struct err e = {0};
    if (jobs_remove_recording(s, id, &e))
        log_event(LOG_WARNING, id, "the recording of a removed job stays for now: %s",
                  e.message);
    atomic_store(&s->tidy_wanted, true);
}

static void tell(struct jobs *s, const struct store_news *news)
{
    if (!news->job_id[0])
        look_at_what_is_waited_for(s);
    else if (news->deleted)
        clear_up(s, news->job_id);
    else if (store_is_shared(s->store))
        post(s, news->job_id, news->status, news->progress, news->message);
    else
        post_as_it_is(s, news->job_id);
}

/* Whether we look for a job that another process has told of. Where the queue wakes one
 * process for each job, that one has told it, too. Else some of very many are enough:
 * when all that are woken are busy, an idle one comes round soon. */
static bool is_for_us(const struct jobs *s, const struct store_news *news)
{
    int64_t peers = supervisor_peers(s->supervisor);
    if (news->by_service && queue_wakes_one(s->queue))
        return false;
    return peers <= WOKEN || randombytes_uniform((uint32_t)peers) < WOKEN;
}

static void on_news(void *arg, const struct store_news *news)
{
    struct jobs *s = arg;
    bool all = !news->job_id[0];
    tell(s, news);
    if (!all && (news->deleted || news->status == JOB_CANCELLED))
        fetcher_stop(s->fetcher, news->job_id);
    /* Who else changes a job that runs here has taken it from us; who is at work on it
     * has a higher attempt than ours. */
    if (!all && (news->deleted || news->status != JOB_PROCESSING) && news->attempt > 0)
        supervisor_stop_job(s->supervisor, news->job_id, news->attempt);
    else if (!all && news->attempt > 1)
        supervisor_stop_job(s->supervisor, news->job_id, news->attempt - 1);
    if (all || (!news->deleted && news->status == JOB_PENDING)) {
        if (all || is_for_us(s, news))
            queue_push(s->queue, news->job_id);
        fetcher_wake(s->fetcher);
    }
    if (all || (!news->deleted && job_state_ended(news->status)))
        webhooks_wake(s->webhooks);
    if (s->has_doors) /* somebody may be waiting for it; what workers need woke them */
        supervisor_wake(s->supervisor);
}

void news_start(struct jobs *s)
{
    store_listen(s->store, on_news, s);
}

void news_stop(struct jobs *s)
{
    if (s->store)
        store_listen(s->store, NULL, NULL);
}

/* An id begins with the milliseconds of its making. */
bool news_may_be_coming(const struct jobs *s, const char *id)
{
    char digits[13];
    memcpy(digits, id, 8);
    memcpy(digits + 8, id + 9, 4);
    digits[12] = '\0';
    return s->beside && strtoll(digits, NULL, 16) > clock_sure_ms() - COMING_MS;
}
