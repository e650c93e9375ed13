/* POST /v1/audio/transcriptions and /v1/audio/translations. */
#include "api/openai.h"

#include "api/errors.h"
#include "api/refusals.h"
#include "api/teller.h"

static int begin_as(struct http_request *r, bool translate)
{
    struct openai_request *o = calloc(1, sizeof *o);
    if (!o) {
        http_respond_error(&r->response, 503, "out_of_memory",
                           "the server is out of memory; try again");
        return ERR_NOMEM;
    }
    intake_init(&o->in);
    buf_init(&o->keywords, HTTP_FIELD_MAX);
    o->translate = translate;
    r->state = o;
    return api_refuse_full(r);
}

static int begin_transcription(struct http_request *r)
{
    return begin_as(r, false);
}

static int begin_translation(struct http_request *r)
{
    return begin_as(r, true);
}

static void done(struct http_request *r)
{
    struct openai_request *o = r->state;
    if (!o)
        return;
    intake_release(r);
    buf_release(&o->keywords);
    free(o);
    r->state = NULL;
}

const struct http_form_handler openai_transcription_form = {
    .file_field = "file",
    .max_file_bytes = intake_max_file_bytes,
    .begin = begin_transcription,
    .field = openai_field,
    .file_begin = intake_file_begin,
    .file_data = intake_file_data,
    .file_end = intake_file_end,
    .done = done,
};

const struct http_form_handler openai_translation_form = {
    .file_field = "file",
    .max_file_bytes = intake_max_file_bytes,
    .begin = begin_translation,
    .field = openai_field,
    .file_begin = intake_file_begin,
    .file_data = intake_file_data,
    .file_end = intake_file_end,
    .done = done,
};

static void stream(struct http_request *r, struct job *job)
{
    const struct api *api = r->app;
    const struct openai_request *o = r->state;
    struct err e;
    if (teller_stream(api->teller, r, job->id, o->logprobs, &e))
        api_error(&r->response, &e);
    job_release(job);
}

void openai_transcribe(struct http_request *r)
{
    const struct openai_request *o = r->state;
    struct job job = {0};
    if (openai_fields_end(r) || intake_submit(r, "openai", &job))
        return;
    if (o->stream)
        stream(r, &job);
    else
        intake_answer(r, &job, openai_answer);
}
