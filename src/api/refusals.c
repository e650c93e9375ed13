#include "api/refusals.h"

#include "api/api.h"
#include "api/errors.h"

#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"

/* "tiny, base.en"; "" when there are none. */
static void models_present(const struct api *api, struct buf *out)
{
    struct catalog_present *models = NULL;
    size_t count = 0;
    if (catalog_list(api->config, &models, &count, NULL))
        return;
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s", i ? ", " : "", models[i].name);
    free(models);
}

int api_refuse_model(struct http_request *r, int status, const struct err *e)
{
    struct buf names;
    buf_init(&names, 4096);
    models_present(r->app, &names);
    if (names.length)
        http_respond_error(&r->response, status, "model_not_found",
                           "%s. Models on this server: %s", e->message, buf_cstr(&names));
    else
        http_respond_error(&r->response, 503, "no_model",
                           "This server has no model yet; its operator gets one with "
                           "\"whisper-transcriber models pull small\"");
    buf_release(&names);
    return e->code;
}

int api_out_of_memory(struct http_request *r)
{
    struct err e;
    (void)err_set(&e, ERR_NOMEM, "out of memory");
    api_error(&r->response, &e);
    return ERR_NOMEM;
}

int api_refuse_full(struct http_request *r)
{
    const struct api *api = r->app;
    struct err e;
    return jobs_room(api->jobs, r->content_length, &e) ? api_refuse_file(r, &e) : 0;
}

int api_refuse_file(struct http_request *r, const struct err *e)
{
    static const int callers[] = {ERR_INVALID,   ERR_NOT_MEDIA, ERR_UNSUPPORTED,
                                  ERR_TOO_LARGE, ERR_FULL,      ERR_NOMEM,
                                  ERR_QUOTA};
    for (size_t i = 0; i < ARRAY_LENGTH(callers); i++)
        if (e->code == callers[i]) {
            api_error(&r->response, e);
            return e->code;
        }
    log_error("an upload failed: %s", e->message);
    http_response_header(&r->response, "Retry-After", "30");
    http_respond_error(&r->response, 503, "storage_error",
                       "The server cannot store the recording; its log says why");
    return e->code;
}
