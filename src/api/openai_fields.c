/* The fields of a transcription as OpenAI's clients send them. A list comes as `name[]`
 * or as `name`, once for each of its values; an object as `name[key]` or as JSON. */
#include "api/openai.h"

#include "api/refusals.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "engine/whisper.h"
#include "job/options.h"

#include <errno.h>
#include <strings.h>

static struct api_options *options_of(struct http_request *r)
{
    struct intake *in = r->state;
    return &in->options;
}

/* Set one of our options, and call it what the client called it when it is wrong. */
static int set_option(struct http_request *r, const char *option, const char *param,
                      const char *value)
{
    struct err e;
    int status = api_options_set(options_of(r), option, value, &e);
    if (status)
        openai_refuse(r, 400, "invalid_value", param, "%s", e.message);
    return status;
}

static int wrong(struct http_request *r, const char *param, const char *value,
                 const char *expected)
{
    openai_refuse(r, 400, "invalid_value", param, "\"%s\" must be %s, not \"%.60s\"",
                  param, expected, value);
    return ERR_INVALID;
}

static int unsupported(struct http_request *r, const char *param, const char *sentence)
{
    openai_refuse(r, 400, "unsupported_value", param, "%s", sentence);
    return ERR_UNSUPPORTED;
}

/* ---- each field -------------------------------------------------------------------- */

static int take_model(struct http_request *r, const char *param, const char *value)
{
    struct openai_request *o = r->state;
    char name[64];
    if (!*value)
        return 0; /* as if it were missing */
    int status = openai_find_model(r, value, name);
    if (status)
        return status;
    o->has_model = true;
    return set_option(r, "model", param, name);
}

static int take_language(struct http_request *r, const char *param, const char *value)
{
    if (*value && strcmp(value, "auto") != 0 && whisper_language_find(value) < 0)
        return wrong(r, param, value, "a code of ISO 639-1 such as \"en\"");
    return set_option(r, "language", param, value);
}

/* Of several languages each window finds its own; one alone is the language. */
static int take_languages(struct http_request *r, const char *param, const char *value)
{
    struct openai_request *o = r->state;
    int index = whisper_language_find(value);
    if (index < 0)
        return wrong(r, param, value, "codes of ISO 639-1 such as \"en\"");
    o->n_languages++;
    (void)snprintf(o->language_hint, sizeof o->language_hint, "%s",
                   o->n_languages == 1 ? whisper_language_code(index) : "");
    return 0;
}

static int take_keywords(struct http_request *r, const char *param, const char *value)
{
    (void)param;
    struct openai_request *o = r->state;
    if (*value)
        buf_printf(&o->keywords, "%s%s", o->keywords.length ? ", " : "", value);
    return 0;
}

static int take_prompt(struct http_request *r, const char *param, const char *value)
{
    return set_option(r, "prompt", param, value);
}

static int take_format(struct http_request *r, const char *param, const char *value)
{
    static const char *const names[OPENAI_FORMAT_COUNT] = {
        [OPENAI_JSON] = "json", [OPENAI_TEXT] = "text",
        [OPENAI_SRT] = "srt",   [OPENAI_VERBOSE] = "verbose_json",
        [OPENAI_VTT] = "vtt",
    };
    struct openai_request *o = r->state;
    for (int i = 0; i < OPENAI_FORMAT_COUNT; i++)
        if (!strcmp(value, names[i])) {
            o->format = (enum openai_format)i;
            return 0;
        }
    if (!strcmp(value, "diarized_json"))
        return unsupported(r, param,
                           "This server does not tell speakers apart: use json, text, "
                           "srt, vtt or verbose_json");
    return *value ? wrong(r, param, value, "json, text, srt, vtt or verbose_json") : 0;
}

/* 0 is our default: the ladder. Any other is the only one, as theirs is. */
static int take_temperature(struct http_request *r, const char *param, const char *value)
{
    char *end, list[40];
    errno = 0;
    double t = strtod(value, &end);
    if (!*value)
        return 0;
    if (*end || errno || !(t >= 0 && t <= 1))
        return wrong(r, param, value, "a number from 0 to 1");
    (void)snprintf(list, sizeof list, "[%.6f]", t);
    return t > 0 ? set_option(r, "temperature", param, list) : 0;
}

static int take_granularity(struct http_request *r, const char *param, const char *value)
{
    struct openai_request *o = r->state;
    o->granular = true;
    if (!strcmp(value, "word"))
        o->words = true;
    else if (!strcmp(value, "segment"))
        o->segments = true;
    else
        return wrong(r, param, value, "word or segment");
    return 0;
}

static int take_stream(struct http_request *r, const char *param, const char *value)
{
    struct openai_request *o = r->state;
    o->stream = !strcasecmp(value, "true") || !strcmp(value, "1");
    if (!o->stream && *value && strcasecmp(value, "false") != 0 &&
        strcmp(value, "0") != 0 && strcmp(value, "null") != 0)
        return wrong(r, param, value, "true or false");
    return 0;
}

static int take_include(struct http_request *r, const char *param, const char *value)
{
    struct openai_request *o = r->state;
    o->logprobs |= !strcmp(value, "logprobs");
    return *value && strcmp(value, "logprobs") != 0 ? wrong(r, param, value, "logprobs")
                                                    : 0;
}

static int take_speakers(struct http_request *r, const char *param, const char *value)
{
    (void)value;
    return unsupported(r, param, "This server does not tell speakers apart");
}

/* ---- how the sound is cut ---------------------------------------------------------- */

static int take_chunking_key(struct http_request *r, const char *param, const char *key,
                             const char *value)
{
    static const struct {
        const char *key, *option;
    } keys[] = {
        {"threshold", "vad_threshold"},
        {"prefix_padding_ms", "vad_speech_pad_ms"},
        {"silence_duration_ms", "vad_min_silence_duration_ms"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++)
        if (!strcmp(key, keys[i].key))
            return set_option(r, keys[i].option, param, value);
    if (!strcmp(key, "type"))
        return strcmp(value, "server_vad") ? wrong(r, param, value, "server_vad") : 0;
    openai_refuse(r, 400, "unknown_parameter", param,
                  "There is no \"%.60s\" in chunking_strategy: use type, threshold, "
                  "prefix_padding_ms or silence_duration_ms",
                  key);
    return ERR_INVALID;
}

static int take_chunking_object(struct http_request *r, const char *param, json_t *object)
{
    const char *key;
    json_t *value;
    int status = 0;
    json_object_foreach(object, key, value)
    {
        char *dumped = json_is_string(value) ? NULL : json_text(value, JSON_ENCODE_ANY);
        const char *text = dumped ? dumped : json_string_value(value);
        if (!status)
            status = take_chunking_key(r, param, key, text ? text : "");
        free(dumped);
    }
    return status;
}

static int take_chunking(struct http_request *r, const char *param, const char *value)
{
    if (!*value || !strcmp(value, "auto") || !strcmp(value, "null"))
        return 0;
    json_t *object = json_loads(value, JSON_REJECT_DUPLICATES, NULL);
    int status = json_is_object(object)
                     ? take_chunking_object(r, param, object)
                     : wrong(r, param, value, "auto, or an object of type server_vad");
    json_decref(object);
    return status;
}

/* "chunking_strategy[type]"; 1 when it is another field. */
static int take_chunking_member(struct http_request *r, const char *name,
                                const char *value)
{
    static const char prefix[] = "chunking_strategy[";
    size_t length = strlen(name);
    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || name[length - 1] != ']' ||
        length == sizeof prefix)
        return 1;
    char key[64];
    (void)snprintf(key, sizeof key, "%.*s", (int)(length - sizeof prefix),
                   name + sizeof prefix - 1);
    return take_chunking_key(r, name, key, value);
}

/* ---- all of them ------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*take)(struct http_request *r, const char *param, const char *value);
} fields[] = {
    {"model", take_model},
    {"language", take_language},
    {"languages", take_languages},
    {"keywords", take_keywords},
    {"prompt", take_prompt},
    {"response_format", take_format},
    {"temperature", take_temperature},
    {"timestamp_granularities", take_granularity},
    {"stream", take_stream},
    {"include", take_include},
    {"chunking_strategy", take_chunking},
    {"known_speaker_names", take_speakers},
    {"known_speaker_references", take_speakers},
};

/* Ours, which their clients can send as extra fields: "beam_size" … */
static int take_other(struct http_request *r, const char *name, const char *value)
{
    struct openai_request *o = r->state;
    const struct job_option *option = job_option_find(name);
    o->shaped |= option && option->group == GROUP_SUBTITLES && *value;
    if (!strcmp(name, "task"))
        return 0; /* the path says it */
    return set_option(r, name, name, value);
}

static int take(struct http_request *r, const char *name, const char *value)
{
    size_t length = strlen(name);
    if (length > 2 && !strcmp(name + length - 2, "[]"))
        length -= 2;
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
        if (strlen(fields[i].name) == length && !strncmp(name, fields[i].name, length))
            return fields[i].take(r, name, value);
    int status = take_chunking_member(r, name, value);
    return status == 1 ? take_other(r, name, value) : status;
}

int openai_field(struct http_request *r, const char *name, const char *value)
{
    const struct intake *in = r->state;
    int status = take(r, name, value);
    /* Behind the file there is nothing left to save; the end is near. */
    return status || in->filename ? status : intake_check(r);
}

static int keep_logprobs(struct http_request *r)
{
    struct api_options *o = options_of(r);
    if (!o->rest)
        o->rest = json_object();
    return json_object_set_new(o->rest, JOB_OPTION_LOGPROBS, json_true())
               ? api_out_of_memory(r)
               : 0;
}

int openai_fields_end(struct http_request *r)
{
    struct openai_request *o = r->state;
    const struct intake *in = &o->in;
    int status = 0;
    if (!in->upload)
        openai_refuse(r, 400, "missing_required_parameter", "file",
                      "The form has no part \"file\": send the recording there");
    else if (!o->has_model)
        openai_refuse(r, 400, "missing_required_parameter", "model",
                      "The form has no field \"model\": send whisper-1, or a name from "
                      "/v1/models");
    else if (o->granular && o->format != OPENAI_VERBOSE)
        openai_refuse(r, 400, "invalid_value", "timestamp_granularities[]",
                      "Granularities need response_format=verbose_json");
    else if (o->logprobs && o->format != OPENAI_JSON)
        openai_refuse(r, 400, "invalid_value", "include[]",
                      "The log probabilities of tokens need response_format=json");
    else if (o->stream && o->format != OPENAI_JSON && o->format != OPENAI_TEXT)
        openai_refuse(r, 400, "invalid_value", "stream",
                      "A stream has events of its own: leave response_format out, or "
                      "use json or text");
    if (r->response.status)
        return ERR_INVALID;
    if (o->words)
        status = set_option(r, "word_timestamps", "timestamp_granularities[]", "true");
    if (!status && o->logprobs)
        status = keep_logprobs(r);
    if (!status && o->keywords.length)
        status = set_option(r, "hotwords", "keywords[]", buf_cstr(&o->keywords));
    if (!status && o->language_hint[0] && !in->options.language)
        status = set_option(r, "language", "languages[]", o->language_hint);
    if (!status && o->translate)
        status = set_option(r, "task", "model", "translate");
    return status;
}
