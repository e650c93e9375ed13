#include "api/models.h"

#include "api/api.h"
#include "api/errors.h"
#include "api/vigil.h"

#include "base/clock.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "engine/whisper.h"
#include "job/models_door.h"

#define BODY_MAX 4096

/* ---- presenting ---- */

static const char *state_name(enum pull_state state)
{
    static const char *const names[] = {[PULL_NONE] = "none",
                                        [PULL_RUNNING] = "pulling",
                                        [PULL_DONE] = "done",
                                        [PULL_FAILED] = "failed",
                                        [PULL_CANCELLED] = "cancelled"};
    return names[state];
}

static json_t *time_or_null(int64_t wall_ms)
{
    char text[CLOCK_ISO_SIZE];
    return wall_ms ? json_string(clock_iso(wall_ms, text)) : json_null();
}

static int progress_of(const struct pull_view *v)
{
    return v->total ? (int)((double)v->done / (double)v->total * 100) : 0;
}

static json_t *present_pull(const struct pull_view *v)
{
    if (v->state == PULL_NONE)
        return json_null();
    return json_pack("{s:s, s:i, s:I, s:I, s:s, s:o}", "state", state_name(v->state),
                     "progress", progress_of(v), "done_bytes", (json_int_t)v->done,
                     "total_bytes", (json_int_t)v->total, "message", v->message,
                     "timestamp", time_or_null(v->time_ms));
}

static json_t *present_languages(const struct model_view *v)
{
    json_t *list = json_array();
    for (int i = 0; i < v->languages; i++)
        (void)json_array_append_new(list, json_string(whisper_language_code(i)));
    return list;
}

static json_t *present_memory(const struct model_view *v)
{
    if (!v->memory.weights)
        return json_null();
    return json_pack("{s:I, s:I, s:b}", "weights_bytes", (json_int_t)v->memory.weights,
                     "transcription_bytes", (json_int_t)v->memory.session, "fits",
                     v->fits);
}

static json_t *present_model(const struct model_view *v)
{
    return json_pack("{s:s, s:b, s:I, s:b, s:b, s:b, s:o, s:o, s:o}", "name", v->name,
                     "present", v->present, "size", (json_int_t)v->bytes, "loaded",
                     v->loaded, "in_use", v->in_use, "default", v->is_default,
                     "languages", present_languages(v), "memory", present_memory(v),
                     "pull", present_pull(&v->pull));
}

/* ---- looking ---- */

static const char *name_of(const struct http_request *r)
{
    return http_request_capture(r, "name");
}

void api_models(struct http_request *r)
{
    struct api *api = r->app;
    struct model_view *list;
    size_t count;
    struct err e;
    models_refresh_default(api->jobs);
    if (jobs_models(api->jobs, &list, &count, &e)) {
        api_error(&r->response, &e);
        return;
    }
    json_t *models = json_array(), *detector = NULL;
    const char *chosen = NULL;
    for (size_t i = 0; i < count; i++) {
        if (list[i].detector)
            detector = present_model(&list[i]);
        else
            (void)json_array_append_new(models, present_model(&list[i]));
        if (list[i].is_default)
            chosen = list[i].name;
    }
    http_respond_json(&r->response, 200,
                      json_pack("{s:o, s:o, s:s?}", "models", models, "voice_detector",
                                detector, "default", chosen));
    free(list);
}

static void answer_model(struct http_request *r, int http_status)
{
    struct api *api = r->app;
    struct model_view v;
    struct err e;
    if (jobs_model(api->jobs, name_of(r), &v, &e))
        api_error(&r->response, &e);
    else
        http_respond_json(&r->response, http_status, present_model(&v));
}

void api_model(struct http_request *r)
{
    const struct api *api = r->app;
    models_refresh_default(api->jobs);
    answer_model(r, 200);
}

/* ---- changing ---- */

void api_model_pull(struct http_request *r)
{
    struct api *api = r->app;
    struct err e;
    if (jobs_model_pull(api->jobs, name_of(r), &e)) {
        if (e.code == ERR_STATE)
            http_response_header(&r->response, "Retry-After", "30");
        api_error(&r->response, &e);
        return;
    }
    answer_model(r, 202);
}

void api_model_remove(struct http_request *r)
{
    struct api *api = r->app;
    struct err e;
    bool stopped;
    if (!jobs_model_remove(api->jobs, name_of(r), &stopped, &e))
        http_respond_json(
            &r->response, 200,
            json_pack("{s:s, s:s}", "message",
                      stopped ? "Download stopped" : "Model deleted successfully", "name",
                      name_of(r)));
    else if (e.code == ERR_UNSUPPORTED)
        api_error_as(&r->response, 422, "unsupported", &e);
    else
        api_error(&r->response, &e);
}

static int64_t max_body(struct http_request *r)
{
    (void)r;
    return BODY_MAX;
}

static int begin_body(struct http_request *r)
{
    struct buf *body = mem_array(1, sizeof *body);
    if (!body) {
        http_respond_error(&r->response, 503, "no_memory",
                           "The server is short of memory; try again later.");
        return ERR_NOMEM;
    }
    buf_init(body, BODY_MAX);
    r->state = body;
    return 0;
}

static int take_body(struct http_request *r, const void *bytes, size_t length)
{
    buf_add(r->state, bytes, length);
    return 0;
}

static void end_body(struct http_request *r)
{
    if (r->state)
        buf_release(r->state);
    free(r->state);
    r->state = NULL;
}

const struct http_body_handler api_model_default_body = {
    .max_bytes = max_body, .begin = begin_body, .data = take_body, .done = end_body};

void api_model_default(struct http_request *r)
{
    struct api *api = r->app;
    const struct buf *body = r->state;
    struct err e;
    json_t *root =
        body ? json_loadb(buf_cstr(body), body->length, JSON_REJECT_DUPLICATES, NULL)
             : NULL;
    const char *name = json_string_value(json_object_get(root, "name"));
    if (!name)
        http_respond_error(&r->response, 400, "invalid",
                           "send JSON with the name of a model: {\"name\":\"small\"}; "
                           "\"auto\" lets the server choose");
    else if (jobs_model_choose(api->jobs, name, &e))
        api_error(&r->response, &e);
    else {
        char now[64];
        bool any = !catalog_default(api->config, now, NULL);
        http_respond_json(&r->response, 200,
                          json_pack("{s:s?}", "default", any ? now : NULL));
    }
    json_decref(root);
}

/* ---- WS /ws/models/{name} ---- */

struct watcher {
    struct jobs *jobs;   /* borrowed */
    struct vigil *vigil; /* borrowed */
    struct vigil_post post;
    struct http_ws *ws; /* borrowed; valid until close returns */
    char name[64];
    int subscription;
};

/* On the download's thread. */
static void on_pull(void *arg, const struct pull_view *v)
{
    struct watcher *w = arg;
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:I, s:I, s:s, s:o}", "name", w->name, "status",
                  state_name(v->state), "progress", progress_of(v), "done_bytes",
                  (json_int_t)v->done, "total_bytes", (json_int_t)v->total, "message",
                  v->message, "timestamp", time_or_null(v->time_ms));
    char *text = o ? json_text(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text)
        http_ws_send(w->ws, text, strlen(text));
    free(text);
    if (!text)
        http_ws_close(w->ws, 1011);
    else if (v->state != PULL_RUNNING && v->state != PULL_NONE)
        http_ws_close(w->ws, 1000);
}

/* On the vigil's thread. */
static void on_withdrawn(void *arg)
{
    struct watcher *w = arg;
    http_ws_close(w->ws, 1008);
}

static int check_name(struct http_request *r)
{
    struct api *api = r->app;
    struct model_view v;
    struct err e;
    int status = jobs_model(api->jobs, name_of(r), &v, &e);
    if (status)
        api_error(&r->response, &e);
    return status;
}

static void *open_watcher(struct http_request *r, struct http_ws *ws)
{
    struct api *api = r->app;
    struct watcher *w = mem_array(1, sizeof *w);
    if (!w)
        return NULL;
    w->jobs = api->jobs;
    w->vigil = api->vigil;
    w->post = (struct vigil_post){
        .pass = access_pass_of(r), .withdrawn = on_withdrawn, .arg = w};
    w->ws = ws;
    (void)snprintf(w->name, sizeof w->name, "%s", name_of(r));
    w->subscription = jobs_model_subscribe(w->jobs, w->name, on_pull, w);
    if (w->subscription > 0) {
        vigil_add(w->vigil, &w->post);
        return w;
    }
    free(w);
    return NULL;
}

static void close_watcher(void *state)
{
    struct watcher *w = state;
    vigil_remove(w->vigil, &w->post);
    jobs_model_unsubscribe(w->jobs, w->subscription);
    free(w);
}

const struct http_ws_handler api_model_progress = {
    .check = check_name, .open = open_watcher, .message = NULL, .close = close_watcher};
