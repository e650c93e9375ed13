#include "job/roster.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "job/room.h"
#include "job/workers.h"

#include <sodium.h>
#include <unistd.h>

#define MS_NS   INT64_C(1000000)
#define BEAT_MS 5000
#define LOOK_NS (INT64_C(1000) * MS_NS)
/* A file has one service: nobody waits for its word, and disks may sleep. */
#define BEAT_ALONE_MS 30000
/* The factor is that of the last ten jobs, roughly. */
#define FADING    0.9
#define NAMES_MAX 65536

void roster_init(struct roster *r, struct jobs *s, const char *owner, size_t concurrency,
                 int threads)
{
    *r = (struct roster){.jobs = s};
    r->row = (struct store_worker){.pid = getpid(),
                                   .embedded = s->has_doors,
                                   .threads = threads,
                                   .concurrency = (int)concurrency,
                                   .started_ms = clock_now_ms()};
    memcpy(r->row.id, owner, ID_SIZE);
    (void)snprintf(r->row.version, sizeof r->row.version, "%s", WT_VERSION);
    if (gethostname(r->row.host, sizeof r->row.host - 1))
        (void)snprintf(r->row.host, sizeof r->row.host, "unknown");
}

void roster_leave(struct roster *r)
{
    struct err e = {0};
    if (r->jobs && r->row.concurrency && r->beat_at_ns &&
        store_worker_remove(r->jobs->store, r->row.id, &e))
        log_warning("this worker's row stays for a minute: %s", e.message);
    free(r->models);
    free(r->seen);
    *r = (struct roster){0};
}

/* ---- the models that are here ---------------------------------------------------- */

/* The row says as many as it has room for, best first. */
static void note_models(struct roster *r)
{
    size_t n = strlen(r->models);
    if (n >= sizeof r->row.models)
        for (n = sizeof r->row.models - 1; n > 0 && r->models[n] != ','; n--)
            ;
    (void)snprintf(r->row.models, sizeof r->row.models, "%.*s", (int)n, r->models);
}

/* What its memory can never hold, a worker leaves to larger ones. A service takes it: it
 * may be alone, and then the job is to fail with the reason, not to wait for ever. */
static bool may_take(const struct roster *r, const char *name)
{
    struct err e = {0};
    if (r->jobs->has_doors || room_check(r->jobs->config, r->row.threads, name, NULL,
                                         NULL, &e) != ERR_TOO_LARGE)
        return true;
    log_warning("jobs of the model %s are left to other workers: %s", name, e.message);
    return false;
}

/* Whether these are others than at the last look. */
static bool have_changed(struct roster *r, const struct catalog_present *list,
                         size_t count)
{
    struct buf names;
    buf_init(&names, NAMES_MAX);
    for (size_t i = 0; i < count; i++)
        buf_printf(&names, "%s %llu,", list[i].name, (unsigned long long)list[i].bytes);
    bool same = r->seen && !strcmp(r->seen, buf_cstr(&names));
    if (!same) {
        free(r->seen);
        r->seen = mem_strdup(buf_cstr(&names));
    }
    buf_release(&names);
    return !same;
}

static void take_models(struct roster *r, const struct catalog_present *list,
                        size_t count)
{
    struct buf names;
    buf_init(&names, NAMES_MAX);
    for (size_t i = 0; i < count; i++)
        if (may_take(r, list[i].name))
            buf_printf(&names, "%s%s", names.length ? "," : "", list[i].name);
    char *copy = buf_failed(&names) ? NULL : mem_strdup(buf_cstr(&names));
    buf_release(&names);
    if (!copy)
        return; /* the former list will do until they change again */
    free(r->models);
    r->models = copy;
    note_models(r);
}

static void look_at_models(struct roster *r)
{
    struct catalog_present *list = NULL;
    struct err e = {0};
    size_t count = 0;
    int status = catalog_list(r->jobs->config, &list, &count, &e);
    if (status && status != ERR_NOT_FOUND)
        log_warning("the models cannot be listed: %s", e.message);
    else if (have_changed(r, list, count))
        take_models(r, list, count);
    free(list);
}

const struct store_wish *roster_wish(struct roster *r, struct store_wish *wish,
                                     int64_t now_ns)
{
    if (!store_is_shared(r->jobs->store))
        return NULL;
    if (now_ns >= r->look_at_ns) {
        look_at_models(r);
        r->look_at_ns = now_ns + LOOK_NS;
    }
    *wish = (struct store_wish){.models = r->models ? r->models : ""};
    return wish;
}

int64_t roster_pace_ns(const struct roster *r, int64_t least_ms, int64_t each_ms)
{
    int64_t ms = atomic_load(&r->peers) * each_ms;
    if (ms <= least_ms) /* few: nobody is in another's way */
        return least_ms * MS_NS;
    return (ms / 2 + randombytes_uniform((uint32_t)(ms < 600000 ? ms : 600000))) * MS_NS;
}

/* ---- the row --------------------------------------------------------------------- */

void roster_worked(struct roster *r, double seconds, double audio_seconds)
{
    if (seconds <= 0 || audio_seconds <= 0)
        return;
    r->worked_seconds = FADING * r->worked_seconds + seconds;
    r->audio_seconds = FADING * r->audio_seconds + audio_seconds;
    r->row.real_time_factor = r->worked_seconds / r->audio_seconds;
}

void roster_mind(struct roster *r, size_t jobs, int64_t now_ns)
{
    struct err e = {0};
    struct store *s = r->jobs->store;
    bool shared = store_is_shared(s), first = !r->beat_at_ns;
    if (now_ns < r->beat_at_ns)
        return;
    r->beat_at_ns = now_ns + (shared ? BEAT_MS : BEAT_ALONE_MS) * MS_NS;
    r->row.jobs = (int)jobs;
    if (!shared || !r->models)
        look_at_models(r);
    int64_t now_ms = clock_now_ms();
    /* Who had a file before us is dead. */
    int64_t silent_ms = first && !shared ? -WORKER_GONE_MS : WORKER_GONE_MS;
    int64_t peers = atomic_load(&r->peers);
    bool mine = first || peers < 2 || !randombytes_uniform((uint32_t)peers);
    int status = mine ? store_worker_trim(s, now_ms, silent_ms, &e) : 0;
    if (!status && r->row.concurrency)
        status = store_worker_beat(s, &r->row, now_ms, &e);
    if (!status && shared && !(status = store_worker_count(s, &peers, &e)))
        atomic_store(&r->peers, peers);
    if (status)
        log_warning("this worker's row is not renewed: %s", e.message);
}
