/* The retention by hand: the same rules as prune.c's, told one by one, and without a
 * service. */
#include "job/care.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/holds.h"
#include "store/native.h"
#include "store/uploads.h"

#define DAY_MS       (INT64_C(86400) * 1000)
#define HOUR_MS      (INT64_C(3600) * 1000)
#define BATCH        1000
#define DRY_MAX      200000 /* told of at most, of each kind */
#define LEFTOVER_AGE DAY_MS /* what others may still be writing is younger */

/* In this order, and each thing once: what takes more of a job comes first. */
static const struct kind {
    enum store_aged aged;
    enum prune_what what;
    const char *why;
} kinds[] = {
    {STORE_AGED_OWN, PRUNE_JOB, "older than the days that were asked for (retain=)"},
    {STORE_AGED_JOBS, PRUNE_JOB, "older than TRANSCRIPT_RETENTION_DAYS"},
    {STORE_AGED_AUDIO, PRUNE_RECORDING, "older than UPLOAD_RETENTION_DAYS"},
    {STORE_AGED_FLEETING_JOBS, PRUNE_JOB, "to leave nothing behind (retain=none)"},
    {STORE_AGED_FLEETING_TEXT, PRUNE_TRANSCRIPT, "to leave nothing behind (retain=none)"},
    {STORE_AGED_FLEETING_AUDIO, PRUNE_RECORDING, "to leave nothing behind (retain=none)"},
};

const char *prune_what_name(enum prune_what w)
{
    static const char *const names[] = {"job", "recording", "transcript", "leftover"};
    return names[w];
}

struct pruning {
    struct store *store; /* borrowed, as are the others */
    struct blob_store *blobs;
    const struct config *config;
    const struct prune_wish *wish;
    prune_fn fn;
    void *arg;
    struct prune_sums *sums;
};

/* Negative: never. */
static int64_t age_of(const struct pruning *p, enum store_aged aged)
{
    int64_t jobs = p->wish->older_than_days >= 0 ? p->wish->older_than_days
                   : p->config->transcript_retention_days > 0
                       ? p->config->transcript_retention_days
                       : -1;
    switch (aged) {
    case STORE_AGED_JOBS:
        return jobs < 0 ? -1 : jobs * DAY_MS;
    case STORE_AGED_AUDIO:
        return p->config->upload_retention_days > 0
                   ? p->config->upload_retention_days * DAY_MS
                   : -1;
    case STORE_AGED_FLEETING_JOBS:
        return DAY_MS;
    case STORE_AGED_FLEETING_TEXT:
        return HOUR_MS;
    case STORE_AGED_OWN:
    case STORE_AGED_FLEETING_AUDIO:
    default:
        return 0;
    }
}

static int64_t before_of(const struct pruning *p, enum store_aged aged)
{
    int64_t age_ms = age_of(p, aged);
    int64_t now = aged == STORE_AGED_FLEETING_AUDIO ? clock_now_ms() : clock_sure_ms();
    return age_ms < 0 ? INT64_MIN : now - age_ms;
}

/* Whether a kind that comes first takes this job as a whole, which would only show when
 * nothing is removed. */
static bool is_told_already(const struct pruning *p, const struct kind *k,
                            const struct job *j)
{
    if (k->what == PRUNE_JOB)
        return false;
    if (k->aged == STORE_AGED_AUDIO)
        return j->completed_ms < before_of(p, STORE_AGED_JOBS);
    if (j->completed_ms < before_of(p, STORE_AGED_FLEETING_JOBS))
        return true;
    return k->aged == STORE_AGED_FLEETING_AUDIO && !j->erased &&
           j->completed_ms < before_of(p, STORE_AGED_FLEETING_TEXT);
}

static int take(struct pruning *p, const struct kind *k, const char *id, struct err *e)
{
    int status = blob_store_writable(p->blobs, e);
    if (status)
        return status;
    /* The row first: a recording without a row is swept, a row without one is a riddle.
     */
    status = k->what == PRUNE_JOB          ? store_remove(p->store, id, e)
             : k->what == PRUNE_TRANSCRIPT ? store_erase(p->store, id, e)
             : k->aged == STORE_AGED_AUDIO ? store_drop_audio(p->store, id, e)
                                           : store_shed(p->store, id, e);
    return status ? status : blob_remove(p->blobs, id, e);
}

static void count(struct prune_sums *sums, const struct prune_item *item)
{
    sums->jobs += item->what == PRUNE_JOB;
    sums->recordings += item->what == PRUNE_RECORDING;
    sums->transcripts += item->what == PRUNE_TRANSCRIPT;
    sums->leftovers += item->what == PRUNE_LEFTOVER;
    sums->bytes += item->bytes;
}

static int one(struct pruning *p, const struct kind *k, const char *id, struct err *e)
{
    struct job j;
    int status = store_get(p->store, id, &j, e);
    if (status)
        return status == ERR_NOT_FOUND ? 0 : status; /* somebody was faster */
    if (!is_told_already(p, k, &j)) {
        struct prune_item item = {.what = k->what,
                                  .why = k->why,
                                  .filename = j.original_filename,
                                  .bytes = j.audio_present ? j.file_bytes : 0,
                                  .ended_ms = j.completed_ms};
        memcpy(item.id, id, ID_SIZE);
        p->fn(p->arg, &item);
        status = p->wish->dry_run ? 0 : take(p, k, id, e);
        if (!status)
            count(p->sums, &item);
    }
    job_release(&j);
    return status == ERR_NOT_FOUND || status == ERR_HELD ? 0 : status;
}

static int each(struct pruning *p, const struct kind *k, struct err *e)
{
    int64_t before_ms = before_of(p, k->aged);
    size_t max = p->wish->dry_run ? DRY_MAX : BATCH, n = 0;
    if (before_ms == INT64_MIN)
        return 0;
    char(*ids)[ID_SIZE] = mem_array(max, sizeof *ids);
    int status = ids ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    do {
        int64_t had = p->sums->jobs + p->sums->recordings + p->sums->transcripts;
        if (!status)
            status = store_aged(p->store, k->aged, before_ms, ids, max, &n, e);
        for (size_t i = 0; !status && i < n; i++)
            status = one(p, k, ids[i], e);
        if (had == p->sums->jobs + p->sums->recordings + p->sums->transcripts)
            break; /* what is left does not go */
    } while (!status && !p->wish->dry_run && n == max);
    free(ids);
    return status;
}

/* ---- what no job has --------------------------------------------------------------- */

static int upload_wanted(struct store *s, const char *id)
{
    struct store_upload u;
    int status = store_upload_get(s, id, &u, NULL);
    if (status)
        return status == ERR_NOT_FOUND ? 0 : status;
    bool wanted = !u.done;
    store_upload_release(&u);
    return wanted;
}

static int is_wanted(void *arg, const char *id, bool is_part)
{
    struct pruning *p = arg;
    struct prune_item item = {
        .what = PRUNE_LEFTOVER, .why = "no job has it", .filename = ""};
    struct job j;
    int status = store_get(p->store, id, &j, NULL);
    bool wanted = false;
    if (!status) {
        bool ended = j.status != JOB_PENDING && j.status != JOB_PROCESSING;
        wanted = is_part ? !j.file_bytes && !ended : j.audio_present;
        job_release(&j);
    } else if (status != ERR_NOT_FOUND) {
        return status;
    }
    status = wanted ? 1 : upload_wanted(p->store, id);
    if (status)
        return status;
    memcpy(item.id, id, ID_SIZE);
    if (!is_part)
        (void)blob_size(p->blobs, id, &item.bytes, NULL);
    p->fn(p->arg, &item);
    count(p->sums, &item);
    return p->wish->dry_run;
}

static int count_held(struct pruning *p, struct err *e)
{
    struct store_hold_list l;
    int64_t before_ms = before_of(p, STORE_AGED_JOBS);
    int status = store_hold_list(p->store, &l, e);
    for (size_t i = 0; !status && i < l.count; i++) {
        struct job j;
        if (store_get(p->store, l.holds[i].job_id, &j, NULL))
            continue;
        p->sums->held += j.completed_ms && j.completed_ms < before_ms;
        job_release(&j);
    }
    if (!status)
        store_hold_list_release(&l);
    return status;
}

/* The words leave the index, and all of it the journal, as in a service. */
static int clear_up(struct store *s, struct err *e)
{
    bool more = false;
    int status = 0;
    do
        status = store_tidy(s, &more, e);
    while (!status && more);
    if (!status)
        status = store_scrub(s, e);
    return status == ERR_TIMEOUT ? 0 : status;
}

int care_prune(struct store *s, struct blob_store *blobs, const struct config *c,
               const struct prune_wish *wish, prune_fn fn, void *arg,
               struct prune_sums *out, struct err *e)
{
    struct pruning p = {.store = s,
                        .blobs = blobs,
                        .config = c,
                        .wish = wish,
                        .fn = fn,
                        .arg = arg,
                        .sums = out};
    *out = (struct prune_sums){0};
    int status = count_held(&p, e);
    for (size_t i = 0; !status && i < ARRAY_LENGTH(kinds); i++)
        status = each(&p, &kinds[i], e);
    if (!status) {
        int n = blob_sweep(blobs, LEFTOVER_AGE, is_wanted, &p, e);
        status = n < 0 ? n : 0;
    }
    if (!status && !wish->dry_run && out->jobs + out->transcripts > 0)
        status = clear_up(s, e);
    return status;
}
