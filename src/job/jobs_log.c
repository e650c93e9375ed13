#include "job/service.h"

int jobs_log_extent(struct jobs *s, struct store_log_extent *out, struct err *e)
{
    return store_log_extent(s->store, out, e);
}

int jobs_log_read(struct jobs *s, int64_t after, const char *caller, size_t max,
                  struct store_event_list *out, struct err *e)
{
    return store_log_read(s->store, after, caller, max, out, e);
}
