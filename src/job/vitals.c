#include "job/vitals.h"

#include "base/clock.h"
#include "base/log.h"
#include "job/service.h"

void jobs_vitals(struct jobs *s, struct jobs_vitals *out)
{
    struct err e = {0};
    *out = (struct jobs_vitals){0};
    int status = store_vitals(s->store, clock_lease_ms(), &out->database, &e);
    if (status)
        log_warning("the database does not say how it is: %s", e.message);
    out->database_up = !status;
    out->has_queue_server = queue_health(s->queue, &out->queue);
}
