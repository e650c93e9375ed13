/* POST /asr and POST /detect-language: everything but the file stands in the query. */
#include "api/asr.h"

#include "api/errors.h"
#include "api/intake.h"
#include "api/refusals.h"
#include "api/segments.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "http/disposition.h"

#include <strings.h>

#define SOURCE "asr"
#define PLAIN  "text/plain; charset=utf-8"

/* r->state */
struct asr_request {
    struct intake in;
    enum format output;
};

/* ---- the query --------------------------------------------------------------------- */

static int wrong(struct http_request *r, const char *name, const char *expected)
{
    http_respond_error(&r->response, 422, "invalid", "\"%s\" must be %s, not \"%.40s\"",
                       name, expected, http_request_query(r, name));
    return ERR_INVALID;
}

/* As FastAPI reads a boolean. */
static int read_boolean(struct http_request *r, const char *name, bool *out)
{
    static const char *const yes[] = {"true", "1", "yes", "on", "y", "t"};
    static const char *const no[] = {"false", "0", "no", "off", "n", "f"};
    const char *value = http_request_query(r, name);
    if (!value || !*value)
        return 0;
    for (size_t i = 0; i < ARRAY_LENGTH(yes); i++)
        if (!strcasecmp(value, yes[i]) || !strcasecmp(value, no[i])) {
            *out = !strcasecmp(value, yes[i]);
            return 0;
        }
    return wrong(r, name, "true or false");
}

static int set_output(struct http_request *r)
{
    struct asr_request *a = r->state;
    const char *value = http_request_query(r, "output");
    a->output = FORMAT_TXT;
    if (!value || !*value || format_parse(value, &a->output))
        return 0;
    if (!strcmp(value, "text")) /* their documents call it so */
        return 0;
    return wrong(r, "output", "txt, vtt, srt, tsv or json");
}

/* What is ours among the parameters; the others are not for us. */
static int set_options(struct http_request *r)
{
    static const char *const ours_alone[] = {"output", "encode", "diarize"};
    struct asr_request *a = r->state;
    struct err e;
    for (size_t i = 0; i < r->query.count; i++) {
        const struct http_param *p = &r->query.list[i];
        bool skip = false;
        for (size_t k = 0; k < ARRAY_LENGTH(ours_alone); k++)
            skip |= !strcmp(p->name, ours_alone[k]);
        int status = skip ? 0 : api_options_set(&a->in.options, p->name, p->value, &e);
        if (status) {
            api_error_as(&r->response, 422, err_name(status), &e);
            return status;
        }
    }
    return 0;
}

static int set_query(struct http_request *r)
{
    struct asr_request *a = r->state;
    bool encode = true, diarize = false;
    int status = read_boolean(r, "encode", &encode);
    if (!status)
        status = read_boolean(r, "diarize", &diarize);
    a->in.raw = !encode;
    if (!status && diarize) {
        http_respond_error(&r->response, 422, "unsupported",
                           "this server does not tell speakers apart: leave \"diarize\" "
                           "out, or say false");
        status = ERR_UNSUPPORTED;
    }
    if (!status)
        status = set_output(r);
    return status ? status : set_options(r);
}

/* ---- the form ---------------------------------------------------------------------- */

static int begin_as(struct http_request *r, bool detect)
{
    struct asr_request *a = calloc(1, sizeof *a);
    if (!a) {
        http_respond_error(&r->response, 503, "out_of_memory",
                           "the server is out of memory; try again");
        return ERR_NOMEM;
    }
    intake_init(&a->in);
    a->in.detect = detect;
    r->state = a;
    return api_refuse_full(r);
}

static int begin_transcription(struct http_request *r)
{
    int status = begin_as(r, false);
    if (!status)
        status = set_query(r);
    return status ? status : intake_check(r);
}

/* A model that knows languages: the default one, or else the best that does. */
static int choose_model(struct http_request *r)
{
    const struct api *api = r->app;
    struct asr_request *a = r->state;
    struct catalog_present *models = NULL;
    size_t count = 0;
    char name[64];
    struct err e;
    if (catalog_default(api->config, name, NULL) || !strstr(name, ".en") ||
        catalog_list(api->config, &models, &count, NULL))
        return 0;
    int status = 0;
    for (size_t i = 0; i < count; i++)
        if (!strstr(models[i].name, ".en")) {
            status = api_options_set(&a->in.options, "model", models[i].name, &e);
            break;
        }
    free(models);
    if (status)
        api_error(&r->response, &e);
    return status;
}

static int begin_detection(struct http_request *r)
{
    bool encode = true;
    int status = begin_as(r, true);
    if (!status)
        status = read_boolean(r, "encode", &encode);
    if (status)
        return status;
    struct asr_request *a = r->state;
    a->in.raw = !encode;
    status = choose_model(r);
    return status ? status : intake_check(r);
}

static int field(struct http_request *r, const char *name, const char *value)
{
    (void)r;
    (void)name;
    (void)value;
    return 0;
}

static void done(struct http_request *r)
{
    if (!r->state)
        return;
    intake_release(r);
    free(r->state);
    r->state = NULL;
}

const struct http_form_handler asr_form = {
    .file_field = "audio_file",
    .max_file_bytes = intake_max_file_bytes,
    .begin = begin_transcription,
    .field = field,
    .file_begin = intake_file_begin,
    .file_data = intake_file_data,
    .file_end = intake_file_end,
    .done = done,
};

const struct http_form_handler asr_detect_form = {
    .file_field = "audio_file",
    .max_file_bytes = intake_max_file_bytes,
    .begin = begin_detection,
    .field = field,
    .file_begin = intake_file_begin,
    .file_data = intake_file_data,
    .file_end = intake_file_end,
    .done = done,
};

/* ---- answers ----------------------------------------------------------------------- */

static void answer_failure(struct http_request *r, const struct job *job)
{
    struct intake_failure f = intake_failure(job);
    http_respond_error(&r->response, f.status, f.code, "%s", f.sentence);
}

/* The reference's document. */
static int write_json(const struct transcript *t, struct buf *out)
{
    struct buf text;
    buf_init(&text, out->maximum);
    transcript_text(t, &text);
    json_t *root = json_pack("{s:s, s:o, s:s}", "text", buf_cstr(&text), "segments",
                             segments_json(t, true), "language", t->language);
    char *dumped = root ? json_text(root, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    if (dumped)
        buf_str(out, dumped);
    int status = dumped && !text.failed ? 0 : ERR_NOMEM;
    free(dumped);
    json_decref(root);
    buf_release(&text);
    return status;
}

static int write_output(const struct job *job, enum format output,
                        const struct transcript *t, struct buf *out, struct err *e)
{
    struct http_params none = {0};
    struct cue_options subtitles;
    int status = api_subtitle_options(job->options, &none, &subtitles, e);
    if (!status && (output == FORMAT_SRT || output == FORMAT_VTT))
        status = cues_check(t, &subtitles, e);
    if (status)
        return status;
    status = output == FORMAT_JSON ? write_json(t, out)
                                   : format_write_as(output, t, &subtitles, out);
    return status ? err_set(e, status, "out of memory") : 0;
}

/* "film.mkv" and srt make "film.mkv.srt", as theirs does. */
static void name_file(struct http_request *r)
{
    const struct asr_request *a = r->state;
    struct buf name, header;
    buf_init(&name, 2048);
    buf_init(&header, 16384);
    buf_printf(&name, "%s.%s", a->in.filename, format_extension(a->output));
    http_disposition_attachment(&header, buf_cstr(&name));
    http_response_header(&r->response, "Content-Disposition", buf_cstr(&header));
    http_response_header(&r->response, "Asr-Engine", "whisper-transcriber");
    buf_release(&name);
    buf_release(&header);
}

static void answer_transcript(struct http_request *r, const struct job *job)
{
    const struct api *api = r->app;
    const struct asr_request *a = r->state;
    struct transcript t;
    struct buf body;
    struct err e;
    if (job->status != JOB_COMPLETED) {
        answer_failure(r, job);
        return;
    }
    transcript_init(&t);
    buf_init(&body, HTTP_BODY_MAX);
    if (jobs_transcript(api->jobs, job->id, &t, &e) ||
        write_output(job, a->output, &t, &body, &e)) {
        api_error(&r->response, &e);
    } else {
        name_file(r);
        http_respond_bytes(&r->response, 200, PLAIN, &body);
    }
    buf_release(&body);
    transcript_release(&t);
}

/* Nobody speaks: "und", which is how ISO 639-2 says so. */
static void answer_language(struct http_request *r, const struct job *job)
{
    const struct api *api = r->app;
    struct transcript t;
    struct err e;
    if (job->status != JOB_COMPLETED) {
        answer_failure(r, job);
        return;
    }
    transcript_init(&t);
    if (jobs_transcript(api->jobs, job->id, &t, &e)) {
        api_error(&r->response, &e);
    } else {
        bool known = t.language[0];
        http_respond_json(
            &r->response, 200,
            json_pack("{s:s, s:s, s:o}", "detected_language",
                      known ? t.language_name : "undetermined", "language_code",
                      known ? t.language : "und", "confidence",
                      segments_float(known ? (float)t.language_probability : 0)));
    }
    transcript_release(&t);
}

/* ---- routes ------------------------------------------------------------------------ */

static void submit(struct http_request *r,
                   void (*answer)(struct http_request *r, const struct job *job))
{
    const struct asr_request *a = r->state;
    struct job job = {0};
    if (!a->in.upload)
        http_respond_error(&r->response, 422, "file_missing",
                           "the form has no part named \"audio_file\": send the "
                           "recording there");
    else if (!intake_submit(r, SOURCE, &job))
        intake_answer(r, &job, answer);
}

void asr_transcribe(struct http_request *r)
{
    submit(r, answer_transcript);
}

void asr_detect(struct http_request *r)
{
    submit(r, answer_language);
}
