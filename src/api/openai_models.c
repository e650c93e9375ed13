/* GET /v1/models, and which model of ours a name of theirs means. */
#include "api/openai.h"

#include "base/mem.h"
#include "catalog/catalog.h"
#include "job/models_door.h"

#include <sys/stat.h>

#define THEIR_MODEL "whisper-1" /* the name that every client knows */

static json_t *describe(const char *name, const char *path)
{
    struct stat st = {0};
    (void)stat(path, &st);
    return json_pack("{s:s, s:s, s:I, s:s}", "id", name, "object", "model", "created",
                     (json_int_t)st.st_mtim.tv_sec, "owned_by", "whisper-transcriber");
}

/* Every model that a request may name; their name for the default one comes first. */
static json_t *describe_all(const struct config *c)
{
    struct catalog_present *models = NULL;
    size_t count = 0;
    char name[64], path[PATH_MAX];
    json_t *list = json_array();
    if (!catalog_default(c, name, NULL) && !catalog_path(c, name, path, NULL))
        (void)json_array_append_new(list, describe(THEIR_MODEL, path));
    if (!catalog_list(c, &models, &count, NULL))
        for (size_t i = 0; i < count; i++)
            (void)json_array_append_new(list, describe(models[i].name, models[i].path));
    free(models);
    return list;
}

void openai_models(struct http_request *r)
{
    const struct api *api = r->app;
    models_refresh_default(api->jobs);
    http_respond_json(
        &r->response, 200,
        json_pack("{s:s, s:o}", "object", "list", "data", describe_all(api->config)));
}

static void refuse(struct http_request *r, const char *asked, json_t *models)
{
    struct buf names;
    buf_init(&names, 4096);
    size_t i;
    json_t *model;
    json_array_foreach(models, i, model)
    {
        buf_printf(&names, "%s%s", i ? ", " : "",
                   json_string_value(json_object_get(model, "id")));
    }
    if (names.length)
        openai_refuse(r, 404, "model_not_found", "model",
                      "The model \"%.60s\" is not on this server. There are: %s", asked,
                      buf_cstr(&names));
    else
        openai_refuse(r, 503, "no_model", "model",
                      "This server has no model yet; its operator gets one with "
                      "\"whisper-transcriber models pull small\"");
    buf_release(&names);
}

void openai_model(struct http_request *r)
{
    const struct api *api = r->app;
    const char *asked = http_request_capture(r, "id");
    models_refresh_default(api->jobs);
    json_t *models = describe_all(api->config), *model, *found = NULL;
    size_t i;
    json_array_foreach(models, i, model)
    {
        if (!found && !strcmp(json_string_value(json_object_get(model, "id")), asked))
            found = model;
    }
    if (found)
        http_respond_json(&r->response, 200, json_incref(found));
    else
        refuse(r, asked, models);
    json_decref(models);
}

/* Names of models that only they have. */
static bool is_theirs(const char *asked)
{
    return !strcmp(asked, THEIR_MODEL) ||
           (!strncmp(asked, "gpt-", 4) && strstr(asked, "transcribe"));
}

/* "openai/whisper-small", "Systran/faster-whisper-small" and "whisper-small" are "small".
 */
static const char *short_name(const char *asked)
{
    static const char *const before[] = {"openai/", "Systran/", "faster-", "whisper-"};
    for (size_t i = 0; i < ARRAY_LENGTH(before); i++)
        if (!strncmp(asked, before[i], strlen(before[i])))
            asked += strlen(before[i]);
    return asked;
}

int openai_find_model(struct http_request *r, const char *asked, char name[64])
{
    const struct api *api = r->app;
    const char *ours = is_theirs(asked) ? "" : short_name(asked);
    char path[PATH_MAX], any[64];
    name[0] = '\0';
    if (!*ours && !catalog_default(api->config, any, NULL))
        return 0;
    if (*ours && catalog_name_valid(ours)) {
        (void)snprintf(name, 64, "%s", ours);
        if (!catalog_path(api->config, name, path, NULL))
            return 0;
    }
    json_t *models = describe_all(api->config);
    refuse(r, asked, models);
    json_decref(models);
    return ERR_NOT_FOUND;
}
