/* The native door: jobs as resources. */
#include "api/api.h"
#include "api/errors.h"
#include "api/extras.h"
#include "api/fleeting.h"
#include "api/options.h"
#include "api/present.h"

#include "base/log.h"
#include "http/disposition.h"
#include "job/stranded.h"

#include <errno.h>

#define LIST_DEFAULT 50
#define LIST_MAX     500
#define DELETE_MAX   100

/* An integer of the query within [low, high]; answers and returns false otherwise. */
static bool query_integer(struct http_request *r, const char *name, int64_t low,
                          int64_t high, int64_t *out)
{
    const char *text = http_request_query(r, name);
    if (!text || !*text)
        return true;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end || errno || value < low || value > high) {
        http_respond_error(
            &r->response, 400, "invalid",
            "\"%s\" must be a whole number from %lld to %lld, not \"%.40s\"", name,
            (long long)low, (long long)high, text);
        return false;
    }
    *out = value;
    return true;
}

static bool read_filter(struct http_request *r, struct job_filter *f)
{
    *f = (struct job_filter){.limit = LIST_DEFAULT};
    if (!query_integer(r, "limit", 1, LIST_MAX, &f->limit) ||
        !query_integer(r, "offset", 0, INT64_C(1) << 40, &f->offset))
        return false;
    const char *status = http_request_query(r, "status");
    f->by_status = status && *status;
    if (f->by_status && !job_status_parse(status, &f->status)) {
        http_respond_error(&r->response, 400, "invalid",
                           "there is no status \"%.40s\": use pending, processing, "
                           "completed, failed or cancelled",
                           status);
        return false;
    }
    const char *search = http_request_query(r, "search");
    f->search = search && *search ? search : NULL;
    return true;
}

/* With what it waits for, where nobody can do it now. */
static json_t *present_to(struct api *api, const struct job *j, bool with_transcript)
{
    char reason[STRANDED_SIZE];
    json_t *o = present_job(j, with_transcript);
    const char *why = jobs_stranded(api->jobs, j, reason);
    (void)json_object_set_new(o, "waits_for", why ? json_string(why) : json_null());
    return o;
}

void api_list(struct http_request *r)
{
    struct api *api = r->app;
    struct job_filter filter;
    struct job_list list = {0};
    struct err e;
    if (!read_filter(r, &filter))
        return;
    filter.caller = api_viewer(r);
    if (jobs_list(api->jobs, &filter, &list, &e)) {
        api_error(&r->response, &e);
        return;
    }
    json_t *jobs = json_array();
    for (size_t i = 0; i < list.count; i++)
        (void)json_array_append_new(jobs, present_to(api, &list.jobs[i], false));
    http_respond_json(&r->response, 200,
                      json_pack("{s:o, s:I, s:I, s:I}", "jobs", jobs, "total",
                                (json_int_t)list.total, "limit", (json_int_t)filter.limit,
                                "offset", (json_int_t)filter.offset));
    job_list_release(&list);
}

/* Answer with a job that a call filled in, or with its error; releases the job. */
static void answer_job(struct http_request *r, int status, struct job *job,
                       const struct err *e)
{
    if (status) {
        api_error(&r->response, e);
        return;
    }
    struct api *api = r->app;
    json_t *shown = present_to(api, job, true);
    api_add_webhook(api->jobs, job->id, shown);
    api_add_hold(r, job->id, shown);
    http_respond_json(&r->response, 200, shown);
    job_release(job);
}

static const char *job_id(const struct http_request *r)
{
    return http_request_capture(r, "id");
}

void api_get(struct http_request *r)
{
    struct api *api = r->app;
    struct job job = {0};
    struct err e;
    if (!api_may_see(r, job_id(r)))
        return;
    int status = jobs_get(api->jobs, job_id(r), &job, &e);
    if (!status && api_is_erased(r, &job))
        return;
    if (!status && job.status == JOB_COMPLETED)
        api_note_fetched(r, &job);
    answer_job(r, status, &job, &e);
}

void api_cancel(struct http_request *r)
{
    struct api *api = r->app;
    struct job job = {0};
    struct err e;
    if (!api_may_see(r, job_id(r)))
        return;
    int status = jobs_cancel(api->jobs, job_id(r), &job, &e);
    answer_job(r, status, &job, &e);
}

void api_retry(struct http_request *r)
{
    struct api *api = r->app;
    struct job job = {0};
    struct err e;
    if (!api_may_see(r, job_id(r)))
        return;
    int status = jobs_retry(api->jobs, job_id(r), &job, &e);
    answer_job(r, status, &job, &e);
}

void api_delete(struct http_request *r)
{
    struct api *api = r->app;
    struct err e;
    if (!api_may_see(r, job_id(r)))
        return;
    if (jobs_delete(api->jobs, job_id(r), &e)) {
        api_error(&r->response, &e);
        return;
    }
    http_respond_json(&r->response, 200,
                      json_pack("{s:s, s:s}", "message", "Job deleted successfully",
                                "job_id", job_id(r)));
}

static bool is_among(char (*ids)[ID_SIZE], size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(ids[i], id))
            return true;
    return false;
}

/* The ids of the query, each once; how many, or -1. */
static int read_ids(const char *text, char (*ids)[ID_SIZE])
{
    size_t count = 0, named = 0;
    for (const char *p = text ? text : "";; p++) {
        size_t length = strcspn(p, ",");
        char id[ID_SIZE] = "";
        if (length != ID_SIZE - 1 || ++named > DELETE_MAX)
            return -1;
        memcpy(id, p, length);
        if (!id_valid(id))
            return -1;
        if (!is_among(ids, count, id))
            memcpy(ids[count++], id, ID_SIZE);
        p += length;
        if (!*p)
            return (int)count;
    }
}

static json_t *delete_one(struct http_request *r, const char *id, bool *deleted)
{
    struct api *api = r->app;
    struct err e;
    int status = jobs_of_caller(api->jobs, api_viewer(r), id, &e);
    if (!status)
        status = jobs_delete(api->jobs, id, &e);
    *deleted = !status;
    if (!status)
        return json_pack("{s:s, s:b}", "job_id", id, "deleted", 1);
    int http_status = api_status(status);
    bool ours = http_status >= 500;
    if (ours)
        log_event(LOG_ERROR, id, "not deleted: %s", e.message);
    return json_pack("{s:s, s:b, s:s, s:s}", "job_id", id, "deleted", 0, "error_code",
                     http_status == 500 ? "internal" : err_name(status), "detail",
                     ours ? "Something went wrong on the server; its log says what."
                          : e.message);
}

/* Several at once: each for itself, so that one that is gone already, or is somebody
 * else's, does not stand in the way of the others. */
void api_delete_many(struct http_request *r)
{
    char ids[DELETE_MAX][ID_SIZE];
    int count = read_ids(http_request_query(r, "ids"), ids), deleted = 0;
    if (count < 0) {
        http_respond_error(
            &r->response, 400, "invalid",
            "\"ids\" must be from 1 to %d ids of jobs, separated by commas", DELETE_MAX);
        return;
    }
    json_t *results = json_array();
    for (int i = 0; i < count; i++) {
        bool gone = false;
        (void)json_array_append_new(results, delete_one(r, ids[i], &gone));
        deleted += gone;
    }
    http_respond_json(&r->response, 200,
                      json_pack("{s:i, s:o}", "deleted", deleted, "results", results));
}

/* "talk.mp3" and srt make "talk.srt". */
static void name_download(struct http_request *r, const char *original,
                          enum format format)
{
    struct buf name, header;
    buf_init(&name, 2048);
    buf_init(&header, 16384);
    const char *dot = strrchr(original, '.');
    buf_add(&name, original,
            dot && dot > original ? (size_t)(dot - original) : strlen(original));
    buf_printf(&name, ".%s", format_extension(format));
    http_disposition_attachment(&header, buf_cstr(&name));
    http_response_header(&r->response, "Content-Disposition", buf_cstr(&header));
    buf_release(&name);
    buf_release(&header);
}

static int subtitle_options(struct http_request *r, const struct job *job,
                            const struct transcript *t, enum format format,
                            struct cue_options *out)
{
    struct err e;
    if (api_subtitle_options(job->options, &r->query, out, &e)) {
        api_error(&r->response, &e);
        return e.code;
    }
    bool subtitles = format == FORMAT_SRT || format == FORMAT_VTT;
    if (!subtitles || !cues_check(t, out, &e))
        return 0;
    api_error_as(&r->response, 409, "no_word_times", &e);
    return e.code;
}

static void write_transcript(struct http_request *r, const struct job *job,
                             const struct transcript *t, enum format format)
{
    struct cue_options subtitles;
    if (subtitle_options(r, job, t, format, &subtitles))
        return;
    struct buf body;
    buf_init(&body, HTTP_BODY_MAX);
    if (format_write_as(format, t, &subtitles, &body))
        body.failed = true;
    name_download(r, job->original_filename, format);
    http_respond_bytes(&r->response, 200, format_content_type(format), &body);
}

static void write_download(struct http_request *r, const struct job *job,
                           enum format format)
{
    struct api *api = r->app;
    struct transcript transcript;
    struct err e;
    transcript_init(&transcript);
    if (jobs_transcript(api->jobs, job->id, &transcript, &e))
        api_error(&r->response, &e);
    else
        write_transcript(r, job, &transcript, format);
    transcript_release(&transcript);
}

void api_download(struct http_request *r)
{
    struct api *api = r->app;
    const char *wanted = http_request_query(r, "format");
    enum format format = FORMAT_TXT;
    struct job job = {0};
    struct err e;
    if (wanted && *wanted && !format_parse(wanted, &format)) {
        http_respond_error(&r->response, 400, "invalid",
                           "there is no format \"%.40s\": use txt, srt, vtt, tsv or json",
                           wanted);
        return;
    }
    if (!api_may_see(r, job_id(r)))
        return;
    if (jobs_get(api->jobs, job_id(r), &job, &e)) {
        api_error(&r->response, &e);
        return;
    }
    if (api_is_erased(r, &job))
        return;
    if (job.status == JOB_COMPLETED) {
        write_download(r, &job, format);
        api_note_fetched(r, &job);
    } else {
        http_respond_error(&r->response, 409, "not_finished",
                           "this job has no transcript to download: it is %s",
                           job_status_name(job.status));
    }
    job_release(&job);
}
