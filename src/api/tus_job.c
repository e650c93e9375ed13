/* Between an upload and its job: the parameters, as they come and as they are kept. */
#include "api/tus.h"

#include "api/extras.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"

#define FINISHED_AT_ONCE 100
#define REQUEST_MS       10000

/* What the parameters of an upload ask for. */
struct wishes {
    struct api_options options;
    struct api_extras extras;
    char *rest; /* owned */
    struct job_request request;
};

/* ---- parameters ------------------------------------------------------------------- */

static void wishes_release(struct wishes *w)
{
    api_options_release(&w->options);
    api_extras_release(&w->extras);
    free(w->rest);
}

/* The object of texts outlives the wishes. */
static int wishes_from(struct wishes *w, json_t *params, const char *owner, struct err *e)
{
    *w = (struct wishes){0};
    const char *name;
    json_t *value;
    json_object_foreach(params, name, value)
    {
        const char *text = json_string_value(value);
        int status = api_options_set(&w->options, name, text ? text : "", e);
        if (!status && strcmp(name, "url") != 0)
            status = api_extras_set(&w->extras, name, text ? text : "", e);
        if (status)
            return status;
    }
    w->rest = w->options.rest ? json_text(w->options.rest, JSON_COMPACT | JSON_SORT_KEYS)
                              : NULL;
    if (w->options.rest && !w->rest)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->request = (struct job_request){
        .caller = owner,
        .webhook = api_extras_webhook(&w->extras),
        .original_filename = json_string_value(json_object_get(params, "filename")),
        .model = w->options.model,
        .language = w->options.language,
        .task = w->options.task,
        .options_json = w->rest,
        .priority = w->options.priority,
        .retain_days = w->options.retain_days};
    return 0;
}

static int add_params(json_t *object, const struct http_params *p, struct err *e)
{
    for (size_t i = 0; i < p->count; i++)
        if (json_object_set_new(object, p->list[i].name, json_string(p->list[i].value)))
            return err_set(e, ERR_NOMEM, "out of memory");
    return 0;
}

int tus_read_params(struct http_request *r, char **out)
{
    struct api *api = r->app;
    struct http_params metadata = {0};
    struct wishes w = {0};
    struct err e;
    json_t *params = json_object();
    const char *header = http_request_header(r, "Upload-Metadata");
    int status = params ? 0 : err_set(&e, ERR_NOMEM, "out of memory");
    if (!status)
        status = tus_metadata(header, &metadata, &e);
    if (!status)
        status = add_params(params, &r->query, &e);
    if (!status)
        status = add_params(params, &metadata, &e);
    if (!status)
        status = wishes_from(&w, params, api_owner(r), &e);
    if (!status)
        status = jobs_check(api->jobs, &w.request, &e);
    *out = status ? NULL : json_text(params, JSON_COMPACT);
    if (!status && !*out)
        status = err_set(&e, ERR_NOMEM, "out of memory");
    wishes_release(&w);
    http_params_release(&metadata);
    json_decref(params);
    return status ? api_refuse_request(r, &e) : 0;
}

/* ---- becoming a job --------------------------------------------------------------- */

int tus_finish(struct api *api, struct store_upload *u, struct err *e)
{
    struct wishes w = {0};
    struct job job = {0};
    json_t *params;
    json_error_t why;
    int status = json_read(&params, u->params, strlen(u->params), 0, &why);
    if (status == ERR_NOMEM)
        status = err_set(e, ERR_NOMEM, "out of memory");
    else if (status)
        status = err_set(e, ERR_CORRUPT, "the upload's parameters are damaged");
    else
        status = wishes_from(&w, params, u->caller, e);
    if (!status)
        status = resumable_finish(api->jobs, u, &w.request, &job, e);
    if (!status) {
        u->done = true;
        job_release(&job);
    } else {
        atomic_store(&api->left_over, true);
    }
    wishes_release(&w);
    json_decref(params);
    return status;
}

bool tus_is_complete(const struct store_upload *u)
{
    return u->length >= 0 && u->received == u->length;
}

bool tus_is_due(const struct store_upload *u)
{
    return tus_is_complete(u) && !u->done && !resumable_partial(u);
}

/* Whether the request that brought the last bytes may still be making the job: that one
 * is not disturbed, unless some have failed. */
static bool just_came(const struct store_upload *u)
{
    return u->expires_ms - RESUMABLE_REST_MS > clock_now_ms() - REQUEST_MS;
}

void tus_finish_all(struct api *api, bool starting)
{
    char ids[FINISHED_AT_ONCE][ID_SIZE];
    size_t count = 0;
    struct err e = {0};
    bool failed = atomic_exchange(&api->left_over, false);
    if (resumable_unfinished(api->jobs, ids, FINISHED_AT_ONCE, &count, &e)) {
        log_warning("complete uploads wait for their clients: %s", e.message);
        atomic_store(&api->left_over, true);
    }
    for (size_t i = 0; i < count; i++) {
        struct store_upload u = {0};
        int status = resumable_get(api->jobs, NULL, ids[i], &u, &e);
        if (status) /* it cannot be read now */
            atomic_store(&api->left_over, true);
        else if (starting || failed || !just_came(&u))
            status = tus_finish(api, &u, &e);
        if (status)
            log_event(starting ? LOG_WARNING : LOG_DEBUG, ids[i],
                      "its upload is no job yet: %s", e.message);
        store_upload_release(&u);
    }
}
