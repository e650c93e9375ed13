#include "job/prune.h"

#include "base/clock.h"
#include "base/log.h"
#include "job/held.h"
#include "job/resumable.h"
#include "store/keys.h"
#include "store/rates.h"

#define DAY_MS  (INT64_C(86400) * 1000)
#define HOUR_MS (INT64_C(3600) * 1000)
/* What was used on a day is asked for on that day, and on the next by a job that began
 * shortly before its end; the rest is for people who look into the database. */
#define USAGE_MS (31 * DAY_MS)
#define BATCH    100
#define ROUNDS   50

/* The log reaches back so far. */
#define LOG_MS    DAY_MS
#define LOG_LINES 10000

/* What leaves nothing behind and is not fetched; somewhat less than an hour, because this
 * is not looked at all the time. Then so long one may still ask for it. */
#define FLEETING_TEXT_MS (HOUR_MS - 60000)
#define FLEETING_JOBS_MS DAY_MS
#define TIDY_STEPS       20

static int remove_audio(struct jobs *s, const char *id, struct err *e)
{
    /* The row first: a job that says it has its recording must have it. */
    int status = blob_store_writable(s->blobs, e);
    if (!status)
        status = store_drop_audio(s->store, id, e);
    return status ? status : jobs_remove_recording(s, id, e);
}

static int remove_fleeting_audio(struct jobs *s, const char *id, struct err *e)
{
    int status = blob_store_writable(s->blobs, e);
    if (!status)
        status = store_shed(s->store, id, e);
    return status ? status : blob_remove(s->blobs, id, e);
}

typedef int (*remove_fn)(struct jobs *s, const char *id, struct err *e);

static remove_fn how_to_remove(enum store_aged what)
{
    switch (what) {
    case STORE_AGED_AUDIO:
        return remove_audio;
    case STORE_AGED_FLEETING_AUDIO:
        return remove_fleeting_audio;
    case STORE_AGED_FLEETING_TEXT:
        return jobs_erase;
    case STORE_AGED_JOBS:
    case STORE_AGED_OWN:
    case STORE_AGED_FLEETING_JOBS:
    default:
        return jobs_forget;
    }
}

static int64_t prune(struct jobs *s, enum store_aged what, int64_t age_ms)
{
    char ids[BATCH][ID_SIZE];
    /* What need not have any age goes by the time that is believed. */
    int64_t now = what == STORE_AGED_FLEETING_AUDIO ? clock_now_ms() : clock_sure_ms();
    int64_t before = now - age_ms, removed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t count = 0;
        struct err e = {0};
        int status = store_aged(s->store, what, before, ids, BATCH, &count, &e);
        for (size_t i = 0; !status && i < count; i++) {
            status = how_to_remove(what)(s, ids[i], &e);
            if (status == ERR_NOT_FOUND || status == ERR_HELD)
                status = 0; /* somebody was faster, or has just put it on hold */
            removed += !status;
        }
        if (status)
            log_warning("retention: %s", e.message);
        if (status || count < BATCH)
            break;
    }
    return removed;
}

void prune_run(struct jobs *s)
{
    const struct config *c = s->config;
    struct err e = {0};
    resumable_prune(s);
    if (store_key_usage_trim(s->store, clock_sure_ms() - USAGE_MS, &e))
        log_warning("retention: %s", e.message);
    if (store_rates_trim(s->store, &e))
        log_warning("retention: %s", e.message);
    if (s->beside) /* of a service that died, and nobody else has started since */
        jobs_sweep(s);
    int64_t jobs = prune(s, STORE_AGED_OWN, 0), audio = 0;
    /* Read once: 0 keeps for ever, and must not become an age of 0 in between. */
    int64_t job_days = c->transcript_retention_days, days = c->upload_retention_days;
    if (job_days > 0)
        jobs += prune(s, STORE_AGED_JOBS, job_days * DAY_MS);
    if (days > 0)
        audio = prune(s, STORE_AGED_AUDIO, days * DAY_MS);
    if (jobs || audio)
        log_info("retention: removed %lld job(s) and %lld recording(s)", (long long)jobs,
                 (long long)audio);
}

/* Words of deleted jobs leave the index step by step, so that nobody waits for long. */
static void tidy(struct jobs *s)
{
    bool more = s->tidying;
    struct err e = {0};
    int status = 0;
    if (!s->tidying && !atomic_exchange(&s->tidy_wanted, false))
        return;
    for (int i = 0; !status && i < TIDY_STEPS && (more || !i); i++)
        status = store_tidy(s->store, &more, &e);
    if (status)
        log_warning("the search index is not tidied now: %s", e.message);
    s->tidying = more;
    if (!more)
        atomic_store(&s->scrub_wanted, true);
}

static void scrub(struct jobs *s)
{
    struct err e = {0};
    if (!atomic_exchange(&s->scrub_wanted, false))
        return;
    int status = store_scrub(s->store, &e);
    if (status)
        atomic_store(&s->scrub_wanted, true);
    if (status && status != ERR_TIMEOUT)
        log_warning("the database's journal is not cleared: %s", e.message);
}

bool prune_soon(struct jobs *s)
{
    struct err e = {0};
    (void)prune(s, STORE_AGED_FLEETING_AUDIO, 0);
    (void)prune(s, STORE_AGED_FLEETING_TEXT, FLEETING_TEXT_MS);
    (void)prune(s, STORE_AGED_FLEETING_JOBS, FLEETING_JOBS_MS);
    if (store_log_trim(s->store, clock_sure_ms() - LOG_MS, LOG_LINES, &e))
        log_warning("the log of changes is not trimmed: %s", e.message);
    tidy(s);
    scrub(s);
    return s->tidying;
}
