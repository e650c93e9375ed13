/* What is asked of a transcription: an input is a query string of its options, or (when
 * it begins with '{') the options of a stored job.
 *
 * Options that were taken field by field are taken as a whole too, unless they contradict
 * each other; what is refused is refused with an answer that is JSON. */
#include "fuzz.h"

#include "api/extras.h"
#include "api/openai.h"
#include "job/options.h"

#include <math.h>

/* The values that the engine relies upon. */
static void check_values(const struct job_options *o)
{
    const struct whisper_params *p = &o->params;
    HOLDS(p->n_temperatures >= 1 && p->n_temperatures <= WHISPER_MAX_TEMPERATURES);
    for (int i = 0; i < p->n_temperatures; i++)
        HOLDS(p->temperatures[i] >= 0 && p->temperatures[i] <= 2.01f);
    HOLDS(p->n_clips <= WHISPER_MAX_CLIPS);
    for (size_t i = 0; i < p->n_clips; i++)
        HOLDS(p->clips[i].start_seconds >= 0 &&
              p->clips[i].end_seconds > p->clips[i].start_seconds);
    HOLDS(o->subtitles.max_line_width > 0 && o->subtitles.max_line_count > 0);
}

static void stored(const char *json)
{
    struct job_options options;
    struct err e = {0};
    int status = job_options_parse(&options, json, &e);
    HOLDS(!status || (e.code == status && e.message[0]));
    if (status)
        return;
    check_values(&options);
    job_options_release(&options);
}

static void native(const struct http_params *query)
{
    struct api_options options = {0};
    struct api_extras extras = {0};
    struct cue_options cues;
    struct err e = {0};
    if (!api_options_set_all(&options, query, &e) && options.rest) {
        char *json = json_dumps(options.rest, JSON_COMPACT);
        HOLDS(json);
        stored(json);
        free(json);
    }
    (void)api_extras_set_all(&extras, query, &e);
    HOLDS(!api_extras_webhook(&extras) == !extras.webhook_url);
    (void)api_subtitle_options("{\"max_line_width\": 30}", query, &cues, &e);
    api_options_release(&options);
    api_extras_release(&extras);
}

/* The same as fields of OpenAI's form, behind the file. The names of models need a folder
 * of models. */
static void openai(const struct http_params *query)
{
    char name[] = "a.wav";
    struct openai_request o = {.in = {.filename = name}};
    struct http_request r = {.state = &o};
    buf_init(&o.keywords, 4096);
    http_response_init(&r.response);
    r.response.shape = openai_error_shape("/v1/audio/transcriptions");
    int status = 0;
    for (size_t i = 0; !status && i < query->count; i++)
        if (strncmp(query->list[i].name, "model", 5) != 0)
            status = openai_field(&r, query->list[i].name, query->list[i].value);
    HOLDS(!status == !r.response.status);
    if (status) {
        json_t *body =
            json_loadb(buf_cstr(&r.response.body), r.response.body.length, 0, NULL);
        HOLDS(json_is_object(json_object_get(body, "error")));
        json_decref(body);
    }
    http_response_release(&r.response);
    buf_release(&o.keywords);
    api_options_release(&o.in.options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_params query = {0};
    char *text = fuzz_text(data, size);
    struct err e;
    if (*text == '{') {
        stored(text);
    } else if (!http_query_parse(&query, text, &e)) {
        native(&query);
        openai(&query);
    }
    http_params_release(&query);
    free(text);
    return 0;
}
