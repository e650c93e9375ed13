#include "api/intake.h"

#include "api/errors.h"
#include "api/refusals.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/later.h"
#include "job/options.h"

void intake_init(struct intake *in)
{
    *in = (struct intake){.empty = true};
    pthread_mutex_init(&in->lock, NULL);
}

static void stop_waiting(struct http_request *r)
{
    const struct api *api = r->app;
    struct intake *in = r->state;
    if (in->subscription > 0)
        jobs_unsubscribe(api->jobs, in->subscription);
    in->subscription = 0;
}

void intake_release(struct http_request *r)
{
    struct intake *in = r->state;
    stop_waiting(r);
    upload_abort(in->upload);
    api_options_release(&in->options);
    free(in->filename);
    pthread_mutex_destroy(&in->lock);
}

/* ---- refusals ---------------------------------------------------------------------- */

static int refuse_request(struct http_request *r, const struct err *e)
{
    if (e->code == ERR_NOT_FOUND)
        (void)api_refuse_model(r, 404, e);
    else if (e->code == ERR_UNSUPPORTED || e->code == ERR_TOO_LARGE)
        api_error_as(&r->response, 422, err_name(e->code), e);
    else
        api_error(&r->response, e);
    return e->code;
}

/* ---- the file ---------------------------------------------------------------------- */

int64_t intake_max_file_bytes(struct http_request *r)
{
    const struct api *api = r->app;
    return api->config->max_file_size_mb * 1048576;
}

/* Raw samples become a WAV file whose length is not known yet. */
static int write_header(struct intake *in, struct err *e)
{
    static const uint8_t header[44] = {'R',  'I',  'F', 'F', 0xFF, 0xFF, 0xFF, 0xFF, 'W',
                                       'A',  'V',  'E', 'f', 'm',  't',  ' ',  16,   0,
                                       0,    0,    1,   0,   1,    0, /* PCM, mono */
                                       0x80, 0x3E, 0,   0,   0x00, 0x7D, 0,    0,    2,
                                       0,    16,   0, /* 16000 Hz, 16 bits */
                                       'd',  'a',  't', 'a', 0xFF, 0xFF, 0xFF, 0xFF};
    return in->raw ? upload_write(in->upload, header, sizeof header, e) : 0;
}

int intake_file_begin(struct http_request *r, const char *filename)
{
    struct api *api = r->app;
    struct intake *in = r->state;
    struct err e;
    in->filename = strdup(*filename ? filename : "recording");
    if (!in->filename)
        return api_out_of_memory(r);
    int status = upload_begin(api->jobs, &in->upload, &e);
    if (!status)
        status = write_header(in, &e);
    return status ? api_refuse_file(r, &e) : 0;
}

int intake_file_data(struct http_request *r, const void *bytes, size_t length)
{
    struct intake *in = r->state;
    struct err e;
    in->empty = in->empty && !length;
    int status = upload_write(in->upload, bytes, length, &e);
    return status ? api_refuse_file(r, &e) : 0;
}

int intake_file_end(struct http_request *r)
{
    const struct intake *in = r->state;
    if (!in->empty)
        return 0;
    http_respond_error(&r->response, 400, "empty_file",
                       "The file is empty: choose a recording");
    return ERR_INVALID;
}

/* ---- the job ----------------------------------------------------------------------- */

/* Fill a request; *json is owned by the caller and must outlive it. The keys are sorted:
 * what is asked for in another order is the same. */
static int make_request(const struct http_request *r, struct job_request *out,
                        char **json)
{
    const struct intake *in = r->state;
    const struct api_options *o = &in->options;
    *json = o->rest ? json_text(o->rest, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (o->rest && !*json)
        return ERR_NOMEM;
    *out = (struct job_request){.caller = api_owner(r),
                                .original_filename = in->filename,
                                .model = o->model,
                                .language = o->language,
                                .task = o->task,
                                .options_json = *json,
                                .detect = in->detect,
                                .share = true};
    return 0;
}

int intake_check(struct http_request *r)
{
    const struct api *api = r->app;
    struct job_request request;
    struct err e;
    char *json;
    if (make_request(r, &request, &json))
        return api_out_of_memory(r);
    int status = jobs_check(api->jobs, &request, &e);
    free(json);
    return status ? refuse_request(r, &e) : 0;
}

static int set_source(struct intake *in, const char *source)
{
    if (!in->options.rest)
        in->options.rest = json_object();
    return json_object_set_new(in->options.rest, JOB_OPTION_SOURCE, json_string(source));
}

int intake_submit(struct http_request *r, const char *source, struct job *out)
{
    const struct api *api = r->app;
    struct intake *in = r->state;
    struct job_request request;
    struct err e;
    char *json;
    if (intake_check(r))
        return ERR_INVALID;
    if (set_source(in, source) || make_request(r, &request, &json))
        return api_out_of_memory(r);
    struct upload *upload = in->upload;
    in->upload = NULL; /* taken over in every case */
    int status = jobs_submit(api->jobs, upload, &request, out, &e);
    free(json);
    if (status)
        return api_refuse_file(r, &e);
    intake_name_job(r, out->id);
    return 0;
}

void intake_name_job(struct http_request *r, const char *job_id)
{
    http_response_header(&r->response, "X-Job-Id", job_id);
}

/* ---- waiting ----------------------------------------------------------------------- */

static bool status_is_last(enum job_status s)
{
    return s != JOB_PENDING && s != JOB_PROCESSING;
}

bool job_has_ended(const struct job *job)
{
    return status_is_last(job->status);
}

/* On the job service's thread. */
static void on_event(void *arg, const struct job_event *event)
{
    struct intake *in = arg;
    if (!status_is_last(event->status))
        return;
    pthread_mutex_lock(&in->lock);
    in->over = true;
    if (in->later)
        http_later_wake(in->later);
    in->later = NULL;
    pthread_mutex_unlock(&in->lock);
}

/* The job is looked at so often even if no event comes: one may have been lost, or the
 * job may have ended under another process. */
#define LOOK_MS 15000

static void resume(struct http_request *r);

/* False: that has been answered. */
static bool wait_on(struct http_request *r)
{
    struct intake *in = r->state;
    struct http_later *later = http_defer(r, LOOK_MS, resume);
    if (!later)
        return false;
    pthread_mutex_lock(&in->lock);
    if (in->over)
        http_later_wake(later);
    else
        in->later = later;
    pthread_mutex_unlock(&in->lock);
    return true;
}

/* The job is in the database, and goes on with its checkpoint when the service is there
 * again: whoever brings the same recording then gets its text. */
static void tell_to_come_again(struct http_request *r)
{
    http_response_header(&r->response, "Connection", "close");
    http_response_header(&r->response, "Retry-After", "10");
    http_respond_error(&r->response, 503, "stopping",
                       "the server is stopping; send the same recording again in a "
                       "moment: what was done of it is kept");
}

static void go_on(struct http_request *r)
{
    const struct api *api = r->app;
    const struct intake *in = r->state;
    struct job job = {0};
    struct err e;
    if (jobs_get(api->jobs, in->job_id, &job, &e)) {
        stop_waiting(r);
        http_respond_error(&r->response, 409, "deleted",
                           "the job of this request was deleted before it had ended");
        return;
    }
    if (job_has_ended(&job)) {
        stop_waiting(r);
        in->answer(r, &job);
    } else if (r->stopping) {
        stop_waiting(r);
        tell_to_come_again(r);
    } else if (!wait_on(r)) {
        stop_waiting(r);
    }
    job_release(&job);
}

static void resume(struct http_request *r)
{
    struct intake *in = r->state;
    pthread_mutex_lock(&in->lock);
    in->later = NULL;
    in->over = false; /* the store is asked next */
    pthread_mutex_unlock(&in->lock);
    if (r->gone)
        stop_waiting(r); /* the job goes on */
    else
        go_on(r);
}

void intake_answer(struct http_request *r, struct job *job,
                   void (*answer)(struct http_request *r, const struct job *job))
{
    const struct api *api = r->app;
    struct intake *in = r->state;
    in->answer = answer;
    memcpy(in->job_id, job->id, ID_SIZE);
    if (job_has_ended(job)) {
        answer(r, job);
        job_release(job);
        return;
    }
    job_release(job);
    /* Subscribe first: a change before the job is looked at is then not missed. */
    in->subscription = jobs_subscribe(api->jobs, in->job_id, on_event, in);
    if (in->subscription > 0)
        go_on(r);
    else
        (void)api_out_of_memory(r);
}

/* ---- failures ---------------------------------------------------------------------- */

struct intake_failure intake_failure(const struct job *job)
{
    static const char *const callers[] = {"not_media", "no_audio", "unsupported",
                                          "corrupt",   "invalid",  "too_large"};
    const char *code = job->error_code ? job->error_code : "internal";
    if (job->status == JOB_CANCELLED)
        return (struct intake_failure){409, "cancelled",
                                       "The job of this request was cancelled"};
    struct intake_failure f = {
        500, code, job->error_message ? job->error_message : "The transcription failed"};
    for (size_t i = 0; i < ARRAY_LENGTH(callers); i++)
        if (!strcmp(code, callers[i]))
            f.status = 422;
    return f;
}
