/* Jobs that are to leave nothing behind: the recording goes with the end, what was said
 * with its first whole download. What fails here is done again by the retention. */
#include "base/log.h"
#include "job/service.h"
#include "job/state.h"
#include "store/holds.h"

static void complain(const char *id, const struct err *e)
{
    log_event(LOG_WARNING, id, "is not erased yet, trying again: %s", e->message);
}

void jobs_ended(struct jobs *s, const struct job *j)
{
    struct err e = {0};
    meter_ended(&s->meter, j);
    if (j->retain_days != JOB_RETAIN_NONE || !job_state_ended(j->status) ||
        store_hold_check(s->store, j->id, &e) == ERR_HELD)
        return;
    int status = store_shed(s->store, j->id, &e);
    if (!status)
        status = blob_remove(s->blobs, j->id, &e);
    if (status)
        complain(j->id, &e);
    atomic_store(&s->scrub_wanted, true);
}

int jobs_erase(struct jobs *s, const char *id, struct err *e)
{
    int status = store_erase(s->store, id, e);
    if (!status)
        status = blob_remove(s->blobs, id, e);
    if (!status)
        status = store_scrub(s->store, e);
    if (status)
        atomic_store(&s->scrub_wanted, true);
    else
        log_event(LOG_INFO, id, "erased, as it was asked for");
    return status == ERR_TIMEOUT ? 0 : status;
}

void jobs_fetched(struct jobs *s, const char *id)
{
    struct job j;
    struct err e = {0};
    if (store_get(s->store, id, &j, &e))
        return;
    bool now = j.retain_days == JOB_RETAIN_NONE && j.status == JOB_COMPLETED && !j.erased;
    job_release(&j);
    if (now && store_hold_check(s->store, id, &e) == ERR_HELD)
        return;
    if (now && jobs_erase(s, id, &e))
        complain(id, &e);
}
