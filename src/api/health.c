/* Whether the process lives, and whether it can do its work. */
#include "api/api.h"

#include "base/clock.h"
#include "base/log.h"

void api_health_live(struct http_request *r)
{
    http_respond_json(&r->response, 200, json_pack("{s:s}", "status", "alive"));
}

/* "database: cannot …" names the part that fails. Who is told to stop says so here before
 * anything else changes, so that a proxy that asks sends nobody here any more. */
void api_health_ready(struct http_request *r)
{
    struct api *api = r->app;
    struct err e = {0};
    if (atomic_load(&api->stopping)) {
        (void)err_set(&e, ERR_STATE, "service: it is stopping");
    } else if (!jobs_ready(api->jobs, &e)) {
        http_respond_json(&r->response, 200, json_pack("{s:s}", "status", "ready"));
        return;
    } else {
        log_warning("not ready: %s", e.message);
    }
    char when[CLOCK_ISO_SIZE];
    size_t part = strcspn(e.message, ":");
    http_response_header(&r->response, "Retry-After", "10");
    http_respond_json(&r->response, 503,
                      json_pack("{s:s, s:s%, s:s, s:s, s:s}", "status", "unavailable",
                                "failing", e.message, part, "detail", e.message,
                                "error_code", "not_ready", "timestamp",
                                clock_iso(clock_now_ms(), when)));
}
