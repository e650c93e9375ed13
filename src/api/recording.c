/* GET /jobs/{id}/audio and /waveform: what the page's player is made of. The recording
 * goes out as it came in, whoever sent it: nothing may take it for a page. */
#include "api/recording.h"

#include "api/errors.h"
#include "base/log.h"
#include "http/disposition.h"
#include "http/later.h"
#include "http/range.h"
#include "job/recording.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#define POINTS_DEFAULT 1000
#define POINTS_MAX     20000

/* ---- audio ------------------------------------------------------------------------ */

/* False: it has been answered that there is no recording. */
static bool open_recording(struct http_request *r, struct job *job, struct recording *rec)
{
    struct api *api = r->app;
    const char *id = http_request_capture(r, "id");
    struct err e;
    if (!api_may_see(r, id))
        return false;
    int status = jobs_get(api->jobs, id, job, &e);
    if (status) {
        api_error(&r->response, &e);
        return false;
    }
    status = job->audio_present ? jobs_recording(api->jobs, id, rec, &e) : ERR_NOT_FOUND;
    if (!status)
        return true;
    if (status == ERR_NOT_FOUND)
        http_respond_error(&r->response, 410, "recording_removed",
                           "the recording of this job is not kept any more: the server "
                           "removes recordings after a while (UPLOAD_RETENTION_DAYS)");
    else
        api_error(&r->response, &e);
    job_release(job);
    return false;
}

static void set_headers(struct http_request *r, const struct job *job)
{
    struct http_response *response = &r->response;
    const char *wanted = http_request_query(r, "inline");
    char tag[ID_SIZE + 2];
    (void)snprintf(tag, sizeof tag, "\"%s\"", job->id); /* a recording never changes */
    http_response_header(response, "ETag", tag);
    http_response_header(response, "Accept-Ranges", "bytes");
    http_response_header(response, "Content-Security-Policy", "sandbox");
    if (wanted && !strcmp(wanted, "1")) {
        http_response_header(response, "Content-Disposition", "inline");
        return;
    }
    struct buf header;
    buf_init(&header, 16384);
    http_disposition_attachment(&header, job->original_filename);
    http_response_header(response, "Content-Disposition", buf_cstr(&header));
    buf_release(&header);
}

/* The Range header, unless it is of a recording that the client has not got from us. */
static const char *wanted_range(const struct http_request *r, const struct job *job)
{
    const char *condition = http_request_header(r, "If-Range");
    char tag[ID_SIZE + 2];
    (void)snprintf(tag, sizeof tag, "\"%s\"", job->id);
    return condition && strcmp(condition, tag) != 0 ? NULL
                                                    : http_request_header(r, "Range");
}

/* ---- from a server ---- */

/* Held by two: who pours, and the stream. */
struct pouring {
    pthread_mutex_t lock;
    struct http_stream *stream; /* under lock; NULL: it is closed */
    int holders;                /* under lock */
};

static void put_down(struct pouring *p)
{
    bool last = --p->holders == 0;
    pthread_mutex_unlock(&p->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* The stream has ended by now, so that a push which waits has let go of the lock. */
static void on_closed(void *state)
{
    struct pouring *p = state;
    pthread_mutex_lock(&p->lock);
    p->stream = NULL;
    put_down(p);
}

static bool on_data(void *arg, const void *bytes, size_t length)
{
    struct pouring *p = arg;
    pthread_mutex_lock(&p->lock);
    bool goes_on = p->stream && http_stream_push(p->stream, bytes, length);
    pthread_mutex_unlock(&p->lock);
    return goes_on;
}

static void on_end(void *arg, bool whole)
{
    struct pouring *p = arg;
    pthread_mutex_lock(&p->lock);
    if (p->stream && whole)
        http_stream_end(p->stream);
    else if (p->stream)
        http_stream_break(p->stream);
    put_down(p);
}

static void pour(struct http_request *r, const struct job *job, int status,
                 const struct recording *rec, int64_t first, int64_t length)
{
    struct api *api = r->app;
    struct err e;
    struct pouring *p = calloc(1, sizeof *p);
    if (!p) {
        http_respond_error(&r->response, 503, "out_of_memory",
                           "The server is short of memory; try again later.");
        return;
    }
    pthread_mutex_init(&p->lock, NULL);
    p->holders = 2;
    p->stream = http_respond_stream(r, status, rec->content_type, on_closed, p);
    if (!p->stream) {
        pthread_mutex_destroy(&p->lock);
        free(p);
        return;
    }
    http_stream_set_length(p->stream, length);
    const struct recording_sink sink = {.data = on_data, .end = on_end, .arg = p};
    if (!r->is_head && !jobs_recording_pour(api->jobs, job->id, first, length, &sink, &e))
        return;
    if (!r->is_head)
        log_event(LOG_WARNING, job->id, "its recording is not sent: %s", e.message);
    on_end(p, r->is_head);
}

/* Takes the descriptor. */
static void respond_recording(struct http_request *r, const struct job *job,
                              const struct recording *rec)
{
    char value[80];
    int64_t first = 0, last = rec->bytes - 1;
    int status = 200;
    switch (http_range_parse(wanted_range(r, job), rec->bytes, &first, &last)) {
    case HTTP_RANGE_NONE:
        if (rec->fd >= 0)
            close(rec->fd);
        (void)snprintf(value, sizeof value, "bytes */%lld", (long long)rec->bytes);
        http_response_header(&r->response, "Content-Range", value);
        http_respond_error(&r->response, 416, "range_not_satisfiable",
                           "the recording has %lld bytes, fewer than the range begins at",
                           (long long)rec->bytes);
        return;
    case HTTP_RANGE_PART:
        status = 206;
        (void)snprintf(value, sizeof value, "bytes %lld-%lld/%lld", (long long)first,
                       (long long)last, (long long)rec->bytes);
        http_response_header(&r->response, "Content-Range", value);
        break;
    case HTTP_RANGE_ALL:
    default:
        break;
    }
    set_headers(r, job);
    if (rec->fd < 0) {
        pour(r, job, status, rec, first, last - first + 1);
        return;
    }
    http_respond_file(&r->response, status, rec->content_type, rec->fd, first,
                      last - first + 1);
}

void api_audio(struct http_request *r)
{
    struct job job = {0};
    struct recording rec;
    if (!open_recording(r, &job, &rec))
        return;
    respond_recording(r, &job, &rec);
    job_release(&job);
}

/* ---- waveform --------------------------------------------------------------------- */

static bool read_points(struct http_request *r, size_t *out)
{
    const char *text = http_request_query(r, "points");
    *out = POINTS_DEFAULT;
    if (!text || !*text)
        return true;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end || errno || value < 1 || value > POINTS_MAX) {
        http_respond_error(&r->response, 400, "invalid",
                           "\"points\" must be a whole number from 1 to %d, not "
                           "\"%.40s\"",
                           POINTS_MAX, text);
        return false;
    }
    *out = (size_t)value;
    return true;
}

static double thousandths(double x)
{
    return round(x * 1000) / 1000;
}

void api_waveform(struct http_request *r)
{
    struct api *api = r->app;
    const char *id = http_request_capture(r, "id");
    struct waveform w;
    struct err e;
    size_t points;
    if (!read_points(r, &points) || !api_may_see(r, id))
        return;
    if (jobs_waveform(api->jobs, id, points, &w, &e)) {
        api_error(&r->response, &e);
        return;
    }
    json_t *peaks = json_array();
    for (size_t i = 0; i < w.count; i++)
        (void)json_array_append_new(peaks, json_real(thousandths(w.peaks[i])));
    http_respond_json(
        &r->response, 200,
        json_pack("{s:f, s:o}", "duration", thousandths(w.seconds), "peaks", peaks));
    waveform_release(&w);
}
