/* A finished job in the forms that OpenAI's clients know. */
#include "api/openai.h"

#include "api/errors.h"
#include "api/segments.h"
#include "format/cues.h"

#include <math.h>

#define PLAIN "text/plain; charset=utf-8"

json_t *openai_usage(double seconds)
{
    return json_pack("{s:s, s:I}", "type", "duration", "seconds",
                     (json_int_t)ceil(seconds));
}

static const char *text_of(const struct job *job)
{
    return job->transcript_text ? job->transcript_text : "";
}

/* `t`: NULL unless the tokens were asked for. */
static void answer_json(struct http_request *r, const struct job *job,
                        const struct transcript *t)
{
    json_t *body = json_pack("{s:s}", "text", text_of(job));
    int failed = t && json_object_set_new(body, "logprobs", openai_logprobs(t));
    failed |= json_object_set_new(body, "usage", openai_usage(job->duration_seconds));
    if (failed) {
        json_decref(body);
        body = NULL; /* answers that memory is out */
    }
    http_respond_json(&r->response, 200, body);
}

static void answer_text(struct http_request *r, const struct job *job)
{
    struct buf body;
    buf_init(&body, HTTP_BODY_MAX);
    buf_str(&body, text_of(job));
    buf_char(&body, '\n');
    http_respond_bytes(&r->response, 200, PLAIN, &body);
}

static void answer_verbose(struct http_request *r, const struct job *job,
                           const struct transcript *t)
{
    const struct openai_request *o = r->state;
    const char *language = o->translate ? "english" : t->language_name;
    json_t *body = json_pack("{s:s, s:s, s:f, s:s}", "task",
                             o->translate ? "translate" : "transcribe", "language",
                             language, "duration", t->duration, "text", text_of(job));
    int failed = 0;
    if (!o->granular || o->segments)
        failed |= json_object_set_new(body, "segments", segments_json(t, false));
    if (o->words)
        failed |= json_object_set_new(body, "words", segments_words_json(t));
    failed |= json_object_set_new(body, "usage", openai_usage(t->duration));
    if (failed) {
        json_decref(body);
        body = NULL; /* answers that memory is out */
    }
    http_respond_json(&r->response, 200, body);
}

static void answer_subtitles(struct http_request *r, const struct job *job,
                             const struct transcript *t, enum format format)
{
    const struct openai_request *o = r->state;
    struct http_params none = {0};
    struct cue_options subtitles;
    struct buf body;
    struct err e;
    if (api_subtitle_options(job->options, &none, &subtitles, &e) ||
        cues_check(t, &subtitles, &e)) {
        api_error(&r->response, &e);
        return;
    }
    /* Their clients count on a cue for each segment. */
    if (!o->shaped)
        subtitles.raw_subtitles = true;
    subtitles.always_hours = true;
    buf_init(&body, HTTP_BODY_MAX);
    if (format_write_as(format, t, &subtitles, &body))
        body.failed = true;
    http_respond_bytes(&r->response, 200, PLAIN, &body);
}

static void answer_transcript(struct http_request *r, const struct job *job)
{
    const struct api *api = r->app;
    const struct openai_request *o = r->state;
    struct transcript t;
    struct err e;
    transcript_init(&t);
    if (jobs_transcript(api->jobs, job->id, &t, &e))
        api_error(&r->response, &e);
    else if (o->format == OPENAI_JSON)
        answer_json(r, job, &t);
    else if (o->format == OPENAI_VERBOSE)
        answer_verbose(r, job, &t);
    else
        answer_subtitles(r, job, &t, o->format == OPENAI_SRT ? FORMAT_SRT : FORMAT_VTT);
    transcript_release(&t);
}

void openai_answer(struct http_request *r, const struct job *job)
{
    const struct openai_request *o = r->state;
    if (job->status != JOB_COMPLETED) {
        struct intake_failure f = intake_failure(job);
        openai_refuse(r, f.status, f.code, f.status == 422 ? "file" : NULL, "%s",
                      f.sentence);
    } else if (o->format == OPENAI_JSON && !o->logprobs) {
        answer_json(r, job, NULL);
    } else if (o->format == OPENAI_TEXT) {
        answer_text(r, job);
    } else {
        answer_transcript(r, job);
    }
}
