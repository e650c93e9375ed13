#include "job/prune.h"

#include "base/clock.h"
#include "base/log.h"
#include "job/resumable.h"

#define DAY_MS (INT64_C(86400) * 1000)
#define BATCH  100
#define ROUNDS 50

static int remove_audio(struct jobs *s, const char *id, struct err *e)
{
    /* The row first: a job that says it has its recording must have it. */
    int status = store_drop_audio(s->store, id, e);
    return status ? status : blob_remove(s->blobs, id, e);
}

static int64_t prune(struct jobs *s, enum store_aged what, int64_t days)
{
    char ids[BATCH][ID_SIZE];
    int64_t before = clock_wall_ms() - days * DAY_MS, removed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t count = 0;
        struct err e = {0};
        int status = store_aged(s->store, what, before, ids, BATCH, &count, &e);
        for (size_t i = 0; !status && i < count; i++) {
            status = what == STORE_AGED_JOBS ? jobs_forget(s, ids[i], &e)
                                             : remove_audio(s, ids[i], &e);
            if (status == ERR_NOT_FOUND)
                status = 0; /* somebody was faster */
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
    resumable_prune(s);
    int64_t jobs = 0, audio = 0;
    if (c->transcript_retention_days > 0)
        jobs = prune(s, STORE_AGED_JOBS, c->transcript_retention_days);
    if (c->upload_retention_days > 0)
        audio = prune(s, STORE_AGED_AUDIO, c->upload_retention_days);
    if (jobs || audio)
        log_info("retention: removed %lld job(s) and %lld recording(s)", (long long)jobs,
                 (long long)audio);
}
