#include "job/quota.h"

#include "base/clock.h"
#include "job/service.h"

static int ask(struct jobs *s, const char *caller, struct err *e)
{
    struct store_key key;
    struct store_usage used;
    int status = store_key_get(s->store, caller, &key, e);
    if (status == ERR_NOT_FOUND) /* nobody's, or a user of the proxy's */
        return 0;
    if (!status && key.minutes_per_day)
        status = store_key_usage(s->store, caller, clock_now_ms(), &used, e);
    return status || !key.minutes_per_day
               ? status
               : quota_check(&used, key.minutes_per_day, false, e);
}

int quota_admit(struct jobs *s, const char *job_id, struct err *e)
{
    struct job j;
    int status = store_get(s->store, job_id, &j, e);
    if (status == ERR_NOT_FOUND)
        return 0; /* deleted: its download hears that elsewhere */
    if (status)
        return status;
    status = ask(s, j.caller, e);
    job_release(&j);
    return status;
}
