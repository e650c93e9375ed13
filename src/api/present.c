#include "api/present.h"

#include "base/clock.h"
#include "base/json_text.h"
#include "http/params.h"

#include <math.h>

static json_t *time_or_null(int64_t wall_ms)
{
    char text[CLOCK_ISO_SIZE];
    return wall_ms ? json_string(clock_iso(wall_ms, text)) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

/* The language that was found, or else the one that was asked for. */
static json_t *language_of(const struct job *j)
{
    if (j->language && *j->language)
        return json_string(j->language);
    bool asked =
        j->language_asked && *j->language_asked && strcmp(j->language_asked, "auto") != 0;
    return asked ? json_string(j->language_asked) : json_null();
}

static json_t *retain_of(const struct job *j)
{
    return j->retain_days == JOB_RETAIN_DEFAULT ? json_string("default")
           : j->retain_days == JOB_RETAIN_NONE  ? json_string("none")
                                                : json_integer(j->retain_days);
}

/* The transcript, its report and the warnings from it. Null and none before there are
 * any, and for what an older version transcribed. */
static int add_result(json_t *o, const struct job *j)
{
    json_t *quality = j->quality ? json_loads(j->quality, 0, NULL) : NULL;
    json_t *warnings = json_incref(json_object_get(quality, "warnings"));
    (void)json_object_del(quality, "warnings");
    return json_object_set_new(o, "transcript", text_or_null(j->transcript_text)) |
           json_object_set_new(o, "warnings", warnings ? warnings : json_array()) |
           json_object_set_new(o, "quality", quality ? quality : json_null());
}

json_t *present_job(const struct job *j, bool with_transcript)
{
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:I, s:o, s:i, s:o, s:o, "
        "s:o, s:i, s:o}",
        "id", j->id, "status", job_status_name(j->status), "filename", j->filename,
        "original_filename", j->original_filename, "model_used", j->model, "language",
        language_of(j), "task", j->task, "created_at", time_or_null(j->created_ms),
        "started_at", time_or_null(j->started_ms), "completed_at",
        time_or_null(j->completed_ms), "file_size", (json_int_t)j->file_bytes, "duration",
        j->duration_seconds > 0 ? json_real(round(j->duration_seconds * 1000) / 1000)
                                : json_null(),
        "progress", j->progress, "message", text_or_null(j->message), "error_message",
        text_or_null(j->error_message), "error_code", text_or_null(j->error_code),
        "priority", j->priority - JOB_PRIORITY_LOWEST, "retain", retain_of(j));
    if (o && with_transcript && add_result(o, j)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

json_t *present_accepted(const struct job *j)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "job_id", j->id, "status",
                     job_status_name(j->status), "filename", j->original_filename,
                     "model", j->model, "created_at", time_or_null(j->created_ms));
}

char *present_progress(const char *job_id, enum job_status status, int progress,
                       const char *message, int64_t time_ms)
{
    /* An event's message has a fixed size and may have been cut within a character. */
    struct buf clean;
    buf_init(&clean, 4096);
    http_utf8_repair(&clean, message ? message : "", message ? strlen(message) : 0);
    json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:o}", "job_id", job_id, "status",
                          job_status_name(status), "progress", progress, "message",
                          buf_cstr(&clean), "timestamp", time_or_null(time_ms));
    buf_release(&clean);
    char *text = o ? json_text(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

char *present_event(const struct store_event *v)
{
    json_t *o = v->deleted ? json_pack("{s:s, s:o}", "job_id", v->job_id, "timestamp",
                                       time_or_null(v->time_ms))
                           : json_pack("{s:s, s:s, s:i, s:s, s:o, s:o}", "job_id",
                                       v->job_id, "status", job_status_name(v->status),
                                       "progress", v->progress, "message", v->message,
                                       "timestamp", time_or_null(v->time_ms), "filename",
                                       text_or_null(v->filename));
    char *text = o ? json_text(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}
