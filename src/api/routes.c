#include "api/api.h"
#include "api/asr.h"
#include "api/openai.h"

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
    /* OpenAI's door. */
    {"POST", "/v1/audio/transcriptions", openai_transcribe, &openai_transcription_form,
     .limited = true},
    {"POST", "/v1/audio/translations", openai_transcribe, &openai_translation_form,
     .limited = true},
    {"GET", "/v1/models", openai_models},
    {"GET", "/v1/models/{id}", openai_model},
    /* That of whisper-asr-webservice. */
    {"POST", "/asr", asr_transcribe, &asr_form, .limited = true},
    {"POST", "/detect-language", asr_detect, &asr_detect_form, .limited = true},
    {"GET", "/health/live", api_health_live},
    {"GET", "/health/ready", api_health_ready},
};

const struct http_route *api_routes(size_t *count)
{
    *count = ARRAY_LENGTH(routes);
    return routes;
}
