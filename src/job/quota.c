#include "job/quota.h"

#include "base/clock.h"
#include "job/service.h"

/* A recording whose length is not known yet counts by its size, as if it were sound on a
 * CD, nearly: what is compressed counts as less than it is, hardly anything as more. */
#define BYTES_PER_SECOND 192000
#define SECONDS_PER_URL  60

enum quota_state quota_judge(const struct store_usage *used, int64_t minutes, bool urls)
{
    double limit = 60.0 * (double)minutes;
    double waiting = (double)used->waiting_bytes / BYTES_PER_SECOND;
    if (urls)
        waiting += (double)used->waiting_urls * SECONDS_PER_URL;
    if (!minutes)
        return QUOTA_LEFT;
    if (used->seconds >= limit)
        return QUOTA_USED;
    return used->seconds + waiting >= limit ? QUOTA_WAITING : QUOTA_LEFT;
}

static int ask(struct jobs *s, const char *caller, bool urls, struct err *e)
{
    struct store_key key;
    struct store_usage used;
    int status = store_key_get(s->store, caller, &key, e);
    if (status == ERR_NOT_FOUND) /* nobody's, or a user of the proxy's */
        return 0;
    if (!status && key.minutes_per_day)
        status = store_key_usage(s->store, caller, clock_now_ms(), &used, e);
    if (status || !key.minutes_per_day ||
        quota_judge(&used, key.minutes_per_day, urls) == QUOTA_LEFT)
        return status;
    return err_set(
        e, ERR_QUOTA,
        "the %lld minutes of audio that this key has for a day are used up, or "
        "will be by the recordings that came before: try the job again when "
        "some are left",
        (long long)key.minutes_per_day);
}

int quota_reserve(struct jobs *s, const char *caller, struct err *e)
{
    return ask(s, caller ? caller : "", true, e);
}

int quota_admit(struct jobs *s, const char *job_id, struct err *e)
{
    struct job j;
    int status = store_get(s->store, job_id, &j, e);
    if (status == ERR_NOT_FOUND)
        return 0; /* deleted: its download hears that elsewhere */
    if (status)
        return status;
    status = ask(s, j.caller, false, e);
    job_release(&j);
    return status;
}
