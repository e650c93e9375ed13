#include "api/api.h"
#include "api/tus.h"

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
    /* Uploads in several requests: the tus protocol. */
    {"OPTIONS", "/uploads", tus_options},
    {"POST", "/uploads", tus_create, .body = &tus_create_body, .limited = true},
    {"OPTIONS", "/uploads/{id}", tus_options},
    {"GET", "/uploads/{id}", tus_get},
    {"PATCH", "/uploads/{id}", tus_patch, .body = &tus_patch_body},
    {"DELETE", "/uploads/{id}", tus_delete},
    {"GET", "/health/live", api_health_live},
    {"GET", "/health/ready", api_health_ready},
};

const struct http_route *api_routes(size_t *count)
{
    *count = ARRAY_LENGTH(routes);
    return routes;
}
