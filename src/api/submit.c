/* POST /transcribe: the file goes to disk as it comes, and whatever is known to be wrong
 * is said at once, before the rest of it has been sent. Fields may stand behind the file,
 * so the whole is judged again at the end. */
#include "api/api.h"
#include "api/errors.h"
#include "api/extras.h"
#include "api/options.h"
#include "api/present.h"

#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"

struct submission {
    struct api *api; /* borrowed */
    struct api_options options;
    struct api_extras extras;
    struct upload *upload; /* owned until it is submitted */
    char *filename;        /* owned */
    bool empty;            /* no byte of the file has come */
};

static int64_t max_file_bytes(struct http_request *r)
{
    const struct api *api = r->app;
    return api->config->max_file_size_mb * 1048576;
}

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

/* A model that is not here is the caller's mistake, unless there is none at all. */
static void refuse_model(struct http_request *r, const struct err *e)
{
    struct buf names;
    buf_init(&names, 4096);
    models_present(r->app, &names);
    if (names.length)
        http_respond_error(&r->response, 400, "model_not_found",
                           "%s. Models on this server: %s", e->message, buf_cstr(&names));
    else
        http_respond_error(&r->response, 503, "no_model",
                           "This server has no model yet; its operator gets one with "
                           "\"whisper-transcriber models pull small\"");
    buf_release(&names);
}

/* What is wrong with a request, as opposed to its file. */
int api_refuse_request(struct http_request *r, const struct err *e)
{
    if (e->code == ERR_NOT_FOUND)
        refuse_model(r, e);
    else if (e->code == ERR_DENIED)
        api_error_as(&r->response, 400, "forbidden_address", e);
    else if (e->code == ERR_UNSUPPORTED)
        api_error_as(&r->response, 422, "unsupported_option", e);
    else if (e->code == ERR_TOO_LARGE)
        api_error_as(&r->response, 422, "too_large", e);
    else
        api_error(&r->response, e);
    return e->code;
}

static int out_of_memory(struct http_request *r)
{
    struct err e;
    (void)err_set(&e, ERR_NOMEM, "out of memory");
    api_error(&r->response, &e);
    return ERR_NOMEM;
}

/* What is wrong with the file, or with our storage: of that a caller learns no details.
 */
static int refuse_file(struct http_request *r, const struct err *e)
{
    static const int callers[] = {ERR_INVALID,   ERR_NOT_MEDIA, ERR_UNSUPPORTED,
                                  ERR_TOO_LARGE, ERR_FULL,      ERR_NOMEM};
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

/* Fill a request; *json is owned by the caller and must outlive it. */
static int make_request(const struct http_request *r, struct job_request *out,
                        char **json)
{
    struct submission *s = r->state;
    *json = s->options.rest ? json_dumps(s->options.rest, JSON_COMPACT) : NULL;
    if (s->options.rest && !*json)
        return ERR_NOMEM;
    *out = (struct job_request){.caller = api_owner(r),
                                .webhook = api_extras_webhook(&s->extras),
                                .original_filename = s->filename,
                                .model = s->options.model,
                                .language = s->options.language,
                                .task = s->options.task,
                                .options_json = *json};
    return 0;
}

/* Judge what has come so far. */
static int check(struct http_request *r)
{
    struct submission *s = r->state;
    struct job_request request;
    struct err e;
    char *json;
    if (make_request(r, &request, &json))
        return out_of_memory(r);
    int status = jobs_check(s->api->jobs, &request, &e);
    if (!status && s->extras.url)
        status = jobs_check_url(s->api->jobs, s->extras.url, &e);
    free(json);
    return status ? api_refuse_request(r, &e) : 0;
}

static int begin(struct http_request *r)
{
    struct submission *s = calloc(1, sizeof *s);
    if (!s)
        return out_of_memory(r);
    r->state = s;
    s->api = r->app;
    s->empty = true;
    struct err e;
    if (api_options_set_all(&s->options, &r->query, &e) ||
        api_extras_set_all(&s->extras, &r->query, &e))
        return api_refuse_request(r, &e);
    return check(r);
}

static int field(struct http_request *r, const char *name, const char *value)
{
    struct submission *s = r->state;
    struct err e;
    if (api_options_set(&s->options, name, value, &e) ||
        api_extras_set(&s->extras, name, value, &e))
        return api_refuse_request(r, &e);
    /* Behind the file there is nothing left to save; the end is near. */
    return s->upload ? 0 : check(r);
}

static int refuse_both(struct http_request *r)
{
    http_respond_error(&r->response, 400, "invalid",
                       "The form has both a file and a url: send one of them");
    return ERR_INVALID;
}

static int file_begin(struct http_request *r, const char *filename)
{
    struct submission *s = r->state;
    struct err e;
    if (s->extras.url)
        return refuse_both(r);
    s->filename = strdup(*filename ? filename : "recording");
    if (!s->filename)
        return out_of_memory(r);
    int status = upload_begin(s->api->jobs, &s->upload, &e);
    return status ? refuse_file(r, &e) : 0;
}

static int file_data(struct http_request *r, const void *bytes, size_t length)
{
    struct submission *s = r->state;
    struct err e;
    s->empty = false;
    int status = upload_write(s->upload, bytes, length, &e);
    return status ? refuse_file(r, &e) : 0;
}

static int file_end(struct http_request *r)
{
    struct submission *s = r->state;
    if (!s->empty)
        return 0;
    http_respond_error(&r->response, 400, "empty_file",
                       "The file is empty: choose a recording");
    return ERR_INVALID;
}

static void done(struct http_request *r)
{
    struct submission *s = r->state;
    if (!s)
        return;
    upload_abort(s->upload);
    api_options_release(&s->options);
    api_extras_release(&s->extras);
    free(s->filename);
    free(s);
    r->state = NULL;
}

const struct http_form_handler api_transcribe_form = {
    .file_field = "file",
    .max_file_bytes = max_file_bytes,
    .begin = begin,
    .field = field,
    .file_begin = file_begin,
    .file_data = file_data,
    .file_end = file_end,
    .done = done,
};

/* Of a job that was made, or of what went wrong; releases the job. */
static void answer(struct http_request *r, int status, struct job *job,
                   const struct err *e)
{
    char location[64];
    if (status) {
        (void)refuse_file(r, e);
        return;
    }
    (void)snprintf(location, sizeof location, "/jobs/%s", job->id);
    http_response_header(&r->response, "Location", location);
    http_respond_json(&r->response, 202, present_accepted(job));
    job_release(job);
}

void api_transcribe(struct http_request *r)
{
    struct submission *s = r->state;
    struct job_request request;
    struct job job = {0};
    struct err e;
    char *json;
    if (!s->upload && !s->extras.url) {
        http_respond_error(
            &r->response, 400, "file_missing",
            "the form has no part named \"file\": send the recording there");
        return;
    }
    if (s->upload && s->extras.url) {
        (void)refuse_both(r);
        return;
    }
    if (check(r))
        return;
    if (make_request(r, &request, &json)) {
        (void)out_of_memory(r);
        return;
    }
    struct upload *upload = s->upload;
    s->upload = NULL; /* taken over in every case */
    int status = upload
                     ? jobs_submit(s->api->jobs, upload, &request, &job, &e)
                     : jobs_submit_url(s->api->jobs, s->extras.url, &request, &job, &e);
    answer(r, status, &job, &e);
    free(json);
}
