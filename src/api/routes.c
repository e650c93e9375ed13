#include "api/access.h"
#include "api/api.h"
#include "api/asr.h"
#include "api/events.h"
#include "api/models.h"
#include "api/openai.h"
#include "api/recording.h"
#include "api/tus.h"

#include "base/mem.h"
#include "http/json_body.h"

/* Of keys and sessions. */
HTTP_JSON_BODY(small_json, 16 << 10);
/* With up to a thousand ids. */
HTTP_JSON_BODY(queue_json, 64 << 10);

static const struct http_route routes[] = {
    {"GET", "/", api_root, .access = API_PUBLIC},
    {"GET", "/assets/{name}", api_asset, .access = API_PUBLIC},
    {"POST", "/transcribe", api_transcribe, &api_transcribe_form, .limited = true,
     .access = API_TRANSCRIBE},
    {"GET", "/jobs", api_list, .access = API_READ},
    {"DELETE", "/jobs", api_delete_many, .access = API_TRANSCRIBE},
    {"GET", "/jobs/{id}", api_get, .access = API_READ},
    {"DELETE", "/jobs/{id}", api_delete, .access = API_TRANSCRIBE},
    {"GET", "/jobs/{id}/download", api_download, .access = API_READ},
    {"POST", "/jobs/{id}/cancel", api_cancel, .access = API_TRANSCRIBE},
    {"POST", "/jobs/{id}/retry", api_retry, .access = API_TRANSCRIBE},
    /* What nobody may remove. */
    {"POST", "/jobs/{id}/hold", api_hold_place, .body = &small_json, .access = API_ADMIN},
    {"DELETE", "/jobs/{id}/hold", api_hold_take_back, .access = API_ADMIN},
    /* The stream of all changes. */
    {"GET", "/events", api_events_stream, .access = API_READ},
    {"GET", "/ws/jobs/{id}", .ws = &api_progress, .access = API_READ},
    /* The page's player. */
    {"GET", "/jobs/{id}/audio", api_audio, .access = API_READ},
    {"GET", "/jobs/{id}/waveform", api_waveform, .access = API_READ},
    /* The interface described, for programs and for people. */
    {"GET", "/openapi.json", api_openapi, .access = API_PUBLIC},
    {"GET", "/docs", api_docs, .access = API_PUBLIC},
    /* Models. */
    {"GET", "/models", api_models, .access = API_READ},
    {"GET", "/models/{name}", api_model, .access = API_READ},
    {"POST", "/models/{name}/pull", api_model_pull, .access = API_ADMIN},
    {"PUT", "/models/default", api_model_default, .body = &api_model_default_body,
     .access = API_ADMIN},
    {"DELETE", "/models/{name}", api_model_remove, .access = API_ADMIN},
    {"GET", "/ws/models/{name}", .ws = &api_model_progress, .access = API_READ},
    /* Uploads in several requests: the tus protocol. What it can do is no secret. */
    {"OPTIONS", "/uploads", tus_options, .access = API_PUBLIC},
    {"POST", "/uploads", tus_create, .body = &tus_create_body, .limited = true,
     .access = API_TRANSCRIBE},
    {"OPTIONS", "/uploads/{id}", tus_options, .access = API_PUBLIC},
    {"GET", "/uploads/{id}", tus_get, .access = API_TRANSCRIBE},
    {"PATCH", "/uploads/{id}", tus_patch, .body = &tus_patch_body,
     .access = API_TRANSCRIBE},
    {"DELETE", "/uploads/{id}", tus_delete, .access = API_TRANSCRIBE},
    /* OpenAI's door. */
    {"POST", "/v1/audio/transcriptions", openai_transcribe, &openai_transcription_form,
     .limited = true, .access = API_TRANSCRIBE},
    {"POST", "/v1/audio/translations", openai_transcribe, &openai_translation_form,
     .limited = true, .access = API_TRANSCRIBE},
    {"GET", "/v1/models", openai_models, .access = API_READ},
    {"GET", "/v1/models/{id}", openai_model, .access = API_READ},
    /* That of whisper-asr-webservice. */
    {"POST", "/asr", asr_transcribe, &asr_form, .limited = true,
     .access = API_TRANSCRIBE},
    {"POST", "/detect-language", asr_detect, &asr_detect_form, .limited = true,
     .access = API_TRANSCRIBE},
    {"GET", "/health/live", api_health_live, .access = API_PUBLIC},
    {"GET", "/health/ready", api_health_ready, .access = API_PUBLIC},
    {"GET", "/metrics", api_metrics, .access = API_READ},

    /* For operators. */
    {"GET", "/admin/workers", api_workers, .access = API_ADMIN},

    /* Who may. Whoever opens or closes a session says with what. */
    {"GET", "/keys", api_keys_list, .access = API_ADMIN},
    {"POST", "/keys", api_keys_create, .body = &small_json, .access = API_ADMIN},
    {"DELETE", "/keys/{id}", api_keys_revoke, .access = API_ADMIN},
    {"GET", "/audit", api_audit, .access = API_ADMIN},
    /* The queue; what is done to one job is with the jobs. */
    {"GET", "/admin/queue", api_queue_show, .access = API_ADMIN},
    {"POST", "/admin/queue/requeue", api_queue_requeue, .body = &queue_json,
     .access = API_ADMIN},
    {"POST", "/admin/queue/purge-dead", api_queue_purge_dead, .body = &small_json,
     .access = API_ADMIN},
    {"POST", "/session", api_session_open, .body = &small_json, .access = API_PUBLIC},
    {"GET", "/session", api_session_show, .access = API_CALLER},
    {"DELETE", "/session", api_session_close, .access = API_PUBLIC},
};

const struct http_route *api_routes(size_t *count)
{
    *count = ARRAY_LENGTH(routes);
    return routes;
}
