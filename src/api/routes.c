#include "api/api.h"
#include "api/models.h"

#include "base/mem.h"

static const struct http_route routes[] = {
    {"GET", "/", api_root},
    {"GET", "/assets/{name}", api_asset},
    {"POST", "/transcribe", api_transcribe, &api_transcribe_form, .limited = true},
    {"GET", "/jobs", api_list},
    {"GET", "/jobs/{id}", api_get},
    {"DELETE", "/jobs/{id}", api_delete},
    {"GET", "/jobs/{id}/download", api_download},
    {"POST", "/jobs/{id}/cancel", api_cancel},
    {"POST", "/jobs/{id}/retry", api_retry},
    {"GET", "/ws/jobs/{id}", .ws = &api_progress},
    /* models */
    {"GET", "/models", api_models},
    {"GET", "/models/{name}", api_model},
    {"POST", "/models/{name}/pull", api_model_pull},
    {"PUT", "/models/default", api_model_default, .body = &api_model_default_body},
    {"DELETE", "/models/{name}", api_model_remove},
    {"GET", "/ws/models/{name}", .ws = &api_model_progress},
    {"GET", "/health/live", api_health_live},
    {"GET", "/health/ready", api_health_ready},
};

const struct http_route *api_routes(size_t *count)
{
    *count = ARRAY_LENGTH(routes);
    return routes;
}
