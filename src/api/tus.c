#include "api/tus.h"

#include "api/errors.h"
#include "api/extras.h"
#include "base/log.h"

#include <strings.h>

#define BODY_TYPE        "application/offset+octet-stream"
#define FINISHED_AT_ONCE 100

/* One request with a body. */
struct tus {
    struct api *api;         /* borrowed */
    struct store_upload row; /* owned */
    struct resumable *open;  /* owned; NULL: nothing has been written */
    struct tus_checksum sum;
    int64_t length; /* said with this request; -1: not said */
};

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
    w->rest = w->options.rest ? json_dumps(w->options.rest, JSON_COMPACT | JSON_SORT_KEYS)
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

/* ---- answers ---------------------------------------------------------------------- */

static void max_size_header(struct http_request *r)
{
    const struct api *api = r->app;
    char text[24];
    (void)snprintf(text, sizeof text, "%lld",
                   (long long)(api->config->max_file_size_mb * 1048576));
    http_response_header(&r->response, "Tus-Max-Size", text);
}

static int refuse(struct http_request *r, const struct err *e)
{
    if (e->code == ERR_TOO_LARGE)
        max_size_header(r);
    if (e->code == ERR_STATE)
        api_error_as(&r->response, 423, "locked", e);
    else if (e->code == ERR_EXISTS)
        api_error_as(&r->response, 409, "offset_conflict", e);
    else if (e->code == ERR_CORRUPT)
        api_error_as(&r->response, 410, "gone", e);
    else
        api_error(&r->response, e);
    return e->code;
}

static int refuse_as(struct http_request *r, int status, const char *code,
                     const char *sentence)
{
    http_respond_error(&r->response, status, code, "%s", sentence);
    return ERR_INVALID;
}

static bool has_body_type(const struct http_request *r)
{
    const char *type = http_request_header(r, "Content-Type");
    size_t length = strlen(BODY_TYPE);
    return type && !strncasecmp(type, BODY_TYPE, length) &&
           (!type[length] || type[length] == ';' || type[length] == ' ');
}

static int64_t max_bytes(struct http_request *r)
{
    const struct api *api = r->app;
    return api->config->max_file_size_mb * 1048576;
}

static struct tus *begin_state(struct http_request *r)
{
    struct tus *t = calloc(1, sizeof *t);
    if (!t) {
        http_respond_error(&r->response, 503, "out_of_memory",
                           "The server is short of memory; try again later.");
        return NULL;
    }
    t->api = r->app;
    t->length = -1;
    r->state = t;
    return t;
}

/* ---- becoming a job --------------------------------------------------------------- */

static int finish(struct api *api, struct store_upload *u, struct err *e)
{
    struct wishes w = {0};
    struct job job = {0};
    json_t *params = json_loads(u->params, 0, NULL);
    int status = params ? wishes_from(&w, params, u->caller, e)
                        : err_set(e, ERR_CORRUPT, "the upload's parameters are damaged");
    if (!status)
        status = resumable_finish(api->jobs, u, &w.request, &job, e);
    if (!status) {
        u->done = true;
        job_release(&job);
    }
    wishes_release(&w);
    json_decref(params);
    return status;
}

static bool is_complete(const struct store_upload *u)
{
    return u->length >= 0 && u->received == u->length;
}

/* Whether it is to be made a job now. */
static bool is_due(const struct store_upload *u)
{
    return is_complete(u) && !u->done && !resumable_partial(u);
}

void tus_finish_all(struct api *api)
{
    char ids[FINISHED_AT_ONCE][ID_SIZE];
    size_t count = 0;
    struct err e = {0};
    if (resumable_unfinished(api->jobs, ids, FINISHED_AT_ONCE, &count, &e))
        log_warning("complete uploads wait for their clients: %s", e.message);
    for (size_t i = 0; i < count; i++) {
        struct store_upload u = {0};
        int status = resumable_get(api->jobs, NULL, ids[i], &u, &e);
        if (!status)
            status = finish(api, &u, &e);
        if (status)
            log_event(LOG_WARNING, ids[i], "its upload is no job yet: %s", e.message);
        store_upload_release(&u);
    }
}

/* ---- a body ------------------------------------------------------------------------ */

static int open_upload(struct http_request *r)
{
    struct tus *t = r->state;
    struct err e;
    int status = resumable_open(t->api->jobs, t->row.id, t->row.received,
                                t->sum.kind != TUS_NONE, &t->open, &e);
    if (!status && t->length >= 0)
        status = resumable_set_length(t->open, t->length, &e);
    if (!status)
        return 0;
    tus_state_headers(r, &t->row);
    return refuse(r, &e);
}

static int data(struct http_request *r, const void *bytes, size_t length)
{
    struct tus *t = r->state;
    struct err e;
    if (!t->open) {
        if (!has_body_type(r))
            return refuse_as(r, 415, "unsupported",
                             "The bytes of an upload are sent as " BODY_TYPE);
        if (is_complete(&t->row))
            return refuse_as(r, 413, "too_large", "The upload is complete already");
        int status = open_upload(r);
        if (status)
            return status;
    }
    tus_checksum_add(&t->sum, bytes, length);
    int status = resumable_write(t->open, bytes, length, &e);
    if (!status)
        return 0;
    bool hopeless = status == ERR_NOT_MEDIA || status == ERR_UNSUPPORTED;
    t->row.received = resumable_offset(t->open);
    if (hopeless || t->sum.kind != TUS_NONE) {
        resumable_close(t->open);
        t->open = NULL;
    }
    if (hopeless)
        (void)resumable_remove(t->api->jobs, t->row.id, NULL);
    else
        tus_state_headers(r, &t->row);
    return refuse(r, &e);
}

static void done(struct http_request *r)
{
    struct tus *t = r->state;
    struct err e;
    if (!t)
        return;
    /* Broken off: what came is not to be sent again, unless it cannot be checked. */
    if (t->open && t->sum.kind == TUS_NONE && resumable_commit(t->open, &e))
        log_event(LOG_WARNING, t->row.id, "an upload: %s", e.message);
    resumable_close(t->open);
    store_upload_release(&t->row);
    free(t);
    r->state = NULL;
}

/* All of the body is here: let it count. */
static int commit(struct http_request *r)
{
    struct tus *t = r->state;
    struct err e;
    if (!t->open)
        return 0;
    int status = 0;
    if (!tus_checksum_fits(&t->sum)) {
        http_respond_error(&r->response, 460, "checksum_mismatch",
                           "The bytes do not have the checksum that Upload-Checksum "
                           "says: send them again");
        status = ERR_INVALID;
    } else if ((status = resumable_commit(t->open, &e))) {
        (void)refuse(r, &e);
    }
    resumable_close(t->open);
    t->open = NULL;
    return status;
}

/* Answer with where the upload stands now. */
static void answer(struct http_request *r, int http_status)
{
    struct tus *t = r->state;
    struct store_upload now;
    struct err e;
    if (resumable_get(t->api->jobs, NULL, t->row.id, &now, &e)) {
        (void)refuse(r, &e);
        return;
    }
    int status = is_due(&now) ? finish(t->api, &now, &e) : 0;
    tus_state_headers(r, &now);
    if (status == ERR_NOT_MEDIA || status == ERR_UNSUPPORTED)
        (void)resumable_remove(t->api->jobs, now.id, NULL);
    if (status == ERR_NOT_FOUND) /* its model went meanwhile */
        (void)api_refuse_request(r, &e);
    else if (status)
        (void)refuse(r, &e);
    else
        r->response.status = http_status;
    char location[64];
    if (now.done && http_status == 204) {
        (void)snprintf(location, sizeof location, "/jobs/%s", now.id);
        http_response_header(&r->response, "Location", location);
    }
    store_upload_release(&now);
}

/* ---- POST ---------------------------------------------------------------------------
 */

static int read_length(struct http_request *r, int64_t *length)
{
    int64_t deferred = 0;
    int said = tus_number(r, "Upload-Length", length);
    int later = said < 0 ? 0 : tus_number(r, "Upload-Defer-Length", &deferred);
    if (said < 0 || later < 0)
        return ERR_INVALID;
    if (said == later || (later && deferred != 1))
        return refuse_as(r, 400, "invalid",
                         "Send either Upload-Length or Upload-Defer-Length: 1");
    if (said && *length == 0)
        return refuse_as(r, 400, "empty_file", "The file is empty: choose a recording");
    if (!said)
        *length = -1;
    return 0;
}

/* The parameters as a text of JSON, judged, so that nothing is sent in vain. */
static int read_params(struct http_request *r, char **out)
{
    struct tus *t = r->state;
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
        status = jobs_check(t->api->jobs, &w.request, &e);
    *out = status ? NULL : json_dumps(params, JSON_COMPACT);
    if (!status && !*out)
        status = err_set(&e, ERR_NOMEM, "out of memory");
    wishes_release(&w);
    http_params_release(&metadata);
    json_decref(params);
    return status ? api_refuse_request(r, &e) : 0;
}

/* An upload that is joined from others has all its bytes already. */
static int join_parts(struct http_request *r, const char *concat)
{
    struct tus *t = r->state;
    char ids[RESUMABLE_PARTS_MAX][ID_SIZE];
    struct err e;
    if (http_request_header(r, "Upload-Length"))
        return refuse_as(r, 400, "invalid",
                         "An upload that is joined has the length of its parts: send no "
                         "Upload-Length");
    int status = read_params(r, &t->row.params);
    if (status)
        return status;
    int count = tus_parts(concat, ids, RESUMABLE_PARTS_MAX, &e);
    if (count < 0)
        return refuse(r, &e);
    if (!resumable_join(t->api->jobs, api_viewer(r), &t->row, ids, (size_t)count, &e)) {
        t->row.received = t->row.length;
        return 0;
    }
    if (e.code != ERR_STATE)
        return refuse(r, &e);
    api_error_as(&r->response, 409, "not_complete", &e);
    return e.code;
}

static int create_empty(struct http_request *r)
{
    struct tus *t = r->state;
    struct err e;
    int status = read_length(r, &t->row.length);
    if (!status)
        status = read_params(r, &t->row.params);
    if (!status &&
        tus_checksum_begin(&t->sum, http_request_header(r, "Upload-Checksum"), &e))
        return refuse(r, &e);
    if (!status && resumable_create(t->api->jobs, &t->row, &e))
        return refuse(r, &e);
    return status;
}

static int begin_create(struct http_request *r)
{
    struct tus *t = begin_state(r);
    tus_standard_headers(r);
    if (!t || !tus_check_version(r, true))
        return ERR_INVALID;
    const char *metadata = http_request_header(r, "Upload-Metadata");
    const char *concat = http_request_header(r, "Upload-Concat");
    bool final = concat && !strncmp(concat, "final;", strlen("final;"));
    if (concat && !final && strcmp(concat, "partial") != 0)
        return refuse_as(r, 400, "invalid",
                         "Upload-Concat must be \"partial\", or begin with \"final;\"");
    t->row.caller = strdup(api_owner(r));
    t->row.metadata = strdup(metadata ? metadata : "");
    t->row.concat = strdup(concat ? concat : "");
    if (!t->row.caller || !t->row.metadata || !t->row.concat)
        return refuse_as(r, 503, "out_of_memory", "The server is short of memory");
    return final ? join_parts(r, concat) : create_empty(r);
}

void tus_create(struct http_request *r)
{
    struct tus *t = r->state;
    char location[64];
    (void)snprintf(location, sizeof location, "/uploads/%s", t->row.id);
    http_response_header(&r->response, "Location", location);
    if (!commit(r))
        answer(r, 201);
}

const struct http_body_handler tus_create_body = {
    .max_bytes = max_bytes, .begin = begin_create, .data = data, .done = done};

/* ---- PATCH --------------------------------------------------------------------------
 */

static int begin_patch(struct http_request *r)
{
    struct err e;
    int64_t offset = -1;
    struct tus *t = begin_state(r);
    tus_standard_headers(r);
    if (!t || !tus_check_version(r, true))
        return ERR_INVALID;
    if (!has_body_type(r))
        return refuse_as(r, 415, "unsupported",
                         "The bytes of an upload are sent as " BODY_TYPE);
    if (tus_number(r, "Upload-Offset", &offset) < 0 ||
        tus_number(r, "Upload-Length", &t->length) < 0)
        return ERR_INVALID;
    if (resumable_get(t->api->jobs, api_viewer(r), http_request_capture(r, "id"), &t->row,
                      &e))
        return refuse(r, &e);
    if (!strncmp(t->row.concat, "final;", strlen("final;")))
        return refuse_as(r, 403, "denied", "An upload that was joined takes no bytes");
    if (offset != t->row.received) {
        tus_state_headers(r, &t->row);
        return refuse_as(r, offset < 0 ? 400 : 409,
                         offset < 0 ? "invalid" : "offset_conflict",
                         "Upload-Offset must say where the upload stands: ask with HEAD");
    }
    if (tus_checksum_begin(&t->sum, http_request_header(r, "Upload-Checksum"), &e))
        return refuse(r, &e);
    if (is_complete(&t->row))
        return 0;
    if (t->row.length >= 0 && r->content_length > t->row.length - offset)
        return refuse_as(r, 413, "too_large",
                         "The request has more bytes than the upload lacks");
    return open_upload(r);
}

void tus_patch(struct http_request *r)
{
    if (!commit(r))
        answer(r, 204);
}

const struct http_body_handler tus_patch_body = {
    .max_bytes = max_bytes, .begin = begin_patch, .data = data, .done = done};

/* ---- the rest ------------------------------------------------------------------------
 */

void tus_options(struct http_request *r)
{
    tus_standard_headers(r);
    max_size_header(r);
    http_response_header(&r->response, "Tus-Version", "1.0.0");
    http_response_header(&r->response, "Tus-Extension",
                         "creation,creation-with-upload,creation-defer-length,"
                         "concatenation,termination,expiration,checksum");
    http_response_header(&r->response, "Tus-Checksum-Algorithm", "sha1,sha256");
    r->response.status = 204;
}

void tus_get(struct http_request *r)
{
    struct api *api = r->app;
    struct store_upload u;
    struct err e;
    tus_standard_headers(r);
    if (!tus_check_version(r, false))
        return;
    if (resumable_get(api->jobs, api_viewer(r), http_request_capture(r, "id"), &u, &e)) {
        (void)refuse(r, &e);
        return;
    }
    if (is_due(&u) && finish(api, &u, &e))
        log_event(LOG_INFO, u.id, "its upload is no job yet: %s", e.message);
    tus_state_headers(r, &u);
    if (*u.metadata)
        http_response_header(&r->response, "Upload-Metadata", u.metadata);
    json_t *length = u.length >= 0 ? json_integer(u.length) : json_null();
    json_t *job = u.done ? json_string(u.id) : json_null();
    char location[64];
    if (u.done) {
        (void)snprintf(location, sizeof location, "/jobs/%s", u.id);
        http_response_header(&r->response, "Location", location);
    }
    http_respond_json(&r->response, 200,
                      json_pack("{s:s, s:I, s:o, s:o}", "id", u.id, "offset",
                                (json_int_t)u.received, "length", length, "job_id", job));
    store_upload_release(&u);
}

void tus_delete(struct http_request *r)
{
    struct api *api = r->app;
    struct store_upload u;
    struct err e;
    tus_standard_headers(r);
    if (!tus_check_version(r, true))
        return;
    int status =
        resumable_get(api->jobs, api_viewer(r), http_request_capture(r, "id"), &u, &e);
    if (!status) {
        status = resumable_remove(api->jobs, u.id, &e);
        store_upload_release(&u);
    }
    if (status)
        (void)refuse(r, &e);
    else
        r->response.status = 204;
}
