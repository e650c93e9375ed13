/* GET /: the page for people, a description for programs, and the oldest health check. */
#include "api/access.h"
#include "api/api.h"
#include "api/errors.h"

#include "base/mem.h"
#include "catalog/catalog.h"
#include "engine/whisper.h"
#include "web/assets.h"

#include <strings.h>

static const char page_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static json_t *describe_models(const struct api *api)
{
    struct catalog_present *models = NULL;
    size_t count = 0;
    json_t *list = json_array();
    if (!catalog_list(api->config, &models, &count, NULL))
        for (size_t i = 0; i < count; i++)
            (void)json_array_append_new(list, json_string(models[i].name));
    free(models);
    return list;
}

static json_t *describe_languages(void)
{
    json_t *languages = json_object();
    for (int i = 0; i < whisper_language_count(); i++)
        (void)json_object_set_new(languages, whisper_language_code(i),
                                  json_string(whisper_language_name(i)));
    return languages;
}

/* What this server has: what it can do, and its doors that are open. */
static json_t *describe_features(const struct config *c)
{
    static const char *const always[] = {
        "transcription", "translation", "language_detection",
        "timestamps",    "subtitles",   "quality_report",
        "live_progress", "events",      "search",
        "priorities",    "idempotency", "batch_upload",
        "batch_delete",  "retention",   "webhooks",
        "tus",           "openai",      "asr"};
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LENGTH(always); i++)
        (void)json_array_append_new(list, json_string(always[i]));
    if (c->wyoming_port)
        (void)json_array_append_new(list, json_string("wyoming"));
    if (c->url_fetch)
        (void)json_array_append_new(list, json_string("url_submission"));
    return list;
}

/* Who is asked for a key, in the words of the setting. */
static json_t *describe_auth(const struct api *api)
{
    enum config_auth mode;
    if (access_mode(api->access, &mode, NULL))
        return json_null();
    return json_string(mode == AUTH_OFF ? "off" : mode == AUTH_PROXY ? "proxy" : "key");
}

static json_t *describe(const struct api *api)
{
    char model[64];
    const struct config *c = api->config;
    bool has_model = !catalog_default(api->config, model, NULL);
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:s}", "service",
        "Whisper Transcriber", "version", WT_VERSION, "status", "online", "features",
        describe_features(c), "auth", describe_auth(api), "wyoming_port",
        c->wyoming_port ? json_integer(c->wyoming_port) : json_null(), "models",
        describe_models(api), "default_model",
        has_model ? json_string(model) : json_null(), "languages", describe_languages(),
        "max_file_size_mb", (json_int_t)api->config->max_file_size_mb, "allowed_formats",
        api->config->allowed_formats ? api->config->allowed_formats : "");
}

static bool accepts_gzip(const struct http_request *r)
{
    const char *accepted = http_request_header(r, "Accept-Encoding");
    const char *gzip = accepted ? strcasestr(accepted, "gzip") : NULL;
    return gzip && strncmp(gzip + 4, ";q=0", 4) != 0;
}

static void respond_asset(struct http_request *r, const struct web_asset *asset)
{
    struct http_response *response = &r->response;
    const char *known = http_request_header(r, "If-None-Match");
    http_response_header(response, "ETag", asset->etag);
    http_response_header(response, "Cache-Control", "no-cache");
    http_response_header(response, "Content-Security-Policy", page_policy);
    if (known && strstr(known, asset->etag)) {
        http_respond_fixed(response, 304, asset->content_type, "", 0);
    } else if (accepts_gzip(r)) {
        http_response_header(response, "Content-Encoding", "gzip");
        http_respond_fixed(response, 200, asset->content_type, asset->gzip,
                           asset->gzip_length);
    } else {
        http_respond_fixed(response, 200, asset->content_type, asset->bytes,
                           asset->length);
    }
}

void api_root(struct http_request *r)
{
    struct api *api = r->app;
    struct err e = {0};
    http_response_header(&r->response, "Vary", "Accept, Accept-Encoding");
    if (http_request_accepts(r, "text/html"))
        respond_asset(r, web_asset_find("index.html"));
    else if (jobs_ready(api->jobs, &e))
        api_health_ready(r);
    else
        http_respond_json(&r->response, 200, describe(api));
}

void api_asset(struct http_request *r)
{
    const struct web_asset *asset = web_asset_find(http_request_capture(r, "name"));
    http_response_header(&r->response, "Vary", "Accept-Encoding");
    if (asset)
        respond_asset(r, asset);
    else
        http_respond_error(&r->response, 404, "not_found",
                           "there is nothing at this path");
}

void api_openapi(struct http_request *r)
{
    http_response_header(&r->response, "Vary", "Accept-Encoding");
    respond_asset(r, web_asset_find("openapi.json"));
}

void api_docs(struct http_request *r)
{
    http_response_header(&r->response, "Vary", "Accept-Encoding");
    respond_asset(r, web_asset_find("docs.html"));
}
