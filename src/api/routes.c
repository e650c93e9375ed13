#include "api/api.h"
#include "api/recording.h"

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
    /* the page's player */
    {"GET", "/jobs/{id}/audio", api_audio},
    {"GET", "/jobs/{id}/waveform", api_waveform},
    /* the interface described, for programs and for people */
    {"GET", "/openapi.json", api_openapi},
    {"GET", "/docs", api_docs},
    {"GET", "/health/live", api_health_live},
    {"GET", "/health/ready", api_health_ready},
};

const struct http_route *api_routes(size_t *count)
{
    *count = ARRAY_LENGTH(routes);
    return routes;
}
