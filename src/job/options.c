#include "job/options.h"

#include "base/json_text.h"
#include "base/mem.h"

#include <jansson.h>
#include <math.h>

#define MAX_TOKENS 1024

static int wrong(const struct job_option *o, struct err *e)
{
    struct buf expects;
    buf_init(&expects, 400);
    job_option_expects(o, &expects);
    int status = err_set(e, ERR_INVALID, "the option \"%s\" must be %s", o->name,
                         buf_cstr(&expects));
    buf_release(&expects);
    return status;
}

/* A number within the bounds; false when it is none. */
static bool number_in(const json_t *value, double low, double high, double *out)
{
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    *out = number;
    return number >= low && number <= high;
}

static void *field(struct job_options *o, const struct job_option *option)
{
    return (char *)o + option->offset;
}

/* ---- the temperatures ------------------------------------------------------------ */

/* The reference's ladder: from `first` in steps up to 1. */
static void set_ladder(struct job_options *o, float first)
{
    struct whisper_params *p = &o->params;
    float step = o->temperature_increment;
    p->n_temperatures = 0;
    for (int i = 0; i < WHISPER_MAX_TEMPERATURES; i++) {
        float t = first + step * (float)i;
        if (i && (step <= 0 || t > 1.0001f))
            break;
        p->temperatures[p->n_temperatures++] = t;
    }
}

/* A number is where the ladder begins; a list is all of it. */
static int set_temperatures(struct job_options *o, const struct job_option *option,
                            const json_t *value, struct err *e)
{
    struct whisper_params *p = &o->params;
    double number = 0;
    if (json_is_array(value)) {
        size_t count = json_array_size(value);
        if (!count || count > WHISPER_MAX_TEMPERATURES)
            return wrong(option, e);
        for (size_t i = 0; i < count; i++) {
            if (!number_in(json_array_get(value, i), 0, 2, &number))
                return wrong(option, e);
            p->temperatures[i] = (float)number;
        }
        p->n_temperatures = (int)count;
        return 0;
    }
    if (!number_in(value, 0, 1, &number))
        return wrong(option, e);
    set_ladder(o, (float)number);
    return 0;
}

/* ---- lists ----------------------------------------------------------------------- */

static int set_tokens(struct job_options *o, const struct job_option *option,
                      const json_t *value, struct err *e)
{
    struct whisper_params *p = &o->params;
    size_t count = json_is_null(value) ? 0 : json_array_size(value);
    if ((!json_is_array(value) && !json_is_null(value)) || count > MAX_TOKENS)
        return wrong(option, e);
    o->tokens = mem_array(count + 1, sizeof *o->tokens);
    if (!o->tokens)
        return err_set(e, ERR_NOMEM, "out of memory");
    p->suppress_non_speech = false;
    p->suppress_tokens = o->tokens;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(value, i);
        double token;
        if (!json_is_integer(item) || !number_in(item, -1, INT32_MAX, &token))
            return wrong(option, e);
        if (token < 0)
            p->suppress_non_speech = true;
        else
            o->tokens[p->n_suppress_tokens++] = (int32_t)token;
    }
    return 0;
}

/* The i-th bound of a flat list, or of a list of {"start","end"}. */
static bool bound(const json_t *list, size_t i, double *out)
{
    const json_t *item = json_array_get(list, i / 2);
    if (!json_is_object(json_array_get(list, 0)))
        return number_in(json_array_get(list, i), 0, 1e9, out);
    return json_object_size(item) == 2 &&
           number_in(json_object_get(item, i % 2 ? "end" : "start"), 0, 1e9, out);
}

static int set_clips(struct job_options *o, const struct job_option *option,
                     const json_t *value, struct err *e)
{
    size_t count = json_array_size(value);
    if (json_is_object(json_array_get(value, 0)))
        count *= 2;
    if (!json_is_array(value) || count > 2 * WHISPER_MAX_CLIPS)
        return wrong(option, e);
    o->clips = mem_array(count / 2 + 1, sizeof *o->clips);
    if (!o->clips)
        return err_set(e, ERR_NOMEM, "out of memory");
    double before = 0;
    for (size_t i = 0; i < count; i++) {
        double at = 0;
        if (!bound(value, i, &at) || at < before || (i % 2 && at == before))
            return wrong(option, e);
        if (i % 2)
            o->clips[i / 2].end_seconds = at;
        else
            o->clips[i / 2] = (struct whisper_clip){at, (double)INFINITY};
        before = at;
    }
    o->params.clips = o->clips;
    o->params.n_clips = (count + 1) / 2;
    return 0;
}

/* ---- one option ------------------------------------------------------------------ */

static int set_number(struct job_options *o, const struct job_option *option,
                      const json_t *value, struct err *e)
{
    float *out = field(o, option);
    double number;
    if (json_is_null(value)) {
        *out = option->none == NONE_IS_OFF       ? NAN
               : option->none == NONE_IS_ENDLESS ? INFINITY
                                                 : 0;
        return 0;
    }
    if (!number_in(value, option->low, option->high, &number))
        return wrong(option, e);
    *out = (float)number;
    return 0;
}

static int set_whole(struct job_options *o, const struct job_option *option,
                     const json_t *value, struct err *e)
{
    int *out = field(o, option);
    double number = 0;
    if (!json_is_null(value) && (!json_is_integer(value) ||
                                 !number_in(value, option->low, option->high, &number)))
        return wrong(option, e);
    *out = (int)number;
    return 0;
}

static int set_seed(struct job_options *o, const struct job_option *option,
                    const json_t *value, struct err *e)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong(option, e);
    o->params.seed = (uint64_t)json_integer_value(value);
    return 0;
}

static int set_mode(struct job_options *o, const struct job_option *option,
                    const json_t *value, struct err *e)
{
    static const char *const names[] = {[WHISPER_MODE_DEFAULT] = "default",
                                        [WHISPER_MODE_SEQUENTIAL] = "sequential",
                                        [WHISPER_MODE_BATCHED] = "batched"};
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < ARRAY_LENGTH(names); i++)
        if (!strcmp(name, names[i])) {
            o->params.mode = (enum whisper_mode)i;
            return 0;
        }
    return wrong(option, e);
}

static int set_text(struct job_options *o, const struct job_option *option,
                    const json_t *value, struct err *e)
{
    const char **out = field(o, option);
    if (!json_is_string(value))
        return wrong(option, e);
    const char *text = json_string_value(value);
    *out = *text || option->kind == OPTION_CHARACTERS ? text : NULL;
    return 0;
}

static int set_boolean(struct job_options *o, const struct job_option *option,
                       const json_t *value, struct err *e)
{
    if (!json_is_boolean(value))
        return wrong(option, e);
    bool *out = field(o, option);
    *out = json_is_true(value);
    return 0;
}

static int set_option(struct job_options *o, const struct job_option *option,
                      const json_t *value, struct err *e)
{
    if (json_is_null(value) && option->none == NONE_IS_DEFAULT)
        return 0;
    switch (option->kind) {
    case OPTION_NUMBER:
        return set_number(o, option, value, e);
    case OPTION_WHOLE:
        return set_whole(o, option, value, e);
    case OPTION_SEED:
        return set_seed(o, option, value, e);
    case OPTION_BOOLEAN:
        return set_boolean(o, option, value, e);
    case OPTION_MODE:
        return set_mode(o, option, value, e);
    case OPTION_TEMPERATURES:
        return set_temperatures(o, option, value, e);
    case OPTION_TOKENS:
        return set_tokens(o, option, value, e);
    case OPTION_CLIPS:
        return set_clips(o, option, value, e);
    case OPTION_TEXT:
    case OPTION_CHARACTERS:
        return set_text(o, option, value, e);
    case OPTION_VAD: /* its members were set before */
    default:
        return json_is_object(value) ? 0 : wrong(option, e);
    }
}

/* ---- all of them ----------------------------------------------------------------- */

static int set_vad(struct job_options *o, const json_t *object, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char name[64];
        (void)snprintf(name, sizeof name, "vad_%.50s", key);
        const struct job_option *option = job_option_find(name);
        if (!option || option->kind == OPTION_VAD || option->kind == OPTION_BOOLEAN)
            return err_set(e, ERR_INVALID, "there is no \"%.50s\" in vad_parameters",
                           key);
        int status = set_option(o, option, value, e);
        if (status)
            return status;
    }
    return 0;
}

/* What others build on comes first, whatever the order of the keys. */
static int set_foundations(struct job_options *o, const json_t *root, struct err *e)
{
    static const char step[] = "temperature_increment_on_fallback";
    const json_t *increment = json_object_get(root, step);
    int status = increment ? set_option(o, job_option_find(step), increment, e) : 0;
    if (!status && increment)
        set_ladder(o, 0);
    const json_t *vad = json_object_get(root, "vad_parameters");
    if (!status && json_is_object(vad))
        status = set_vad(o, vad, e);
    return status;
}

static int set_all(struct job_options *o, const json_t *root, struct err *e)
{
    const char *key;
    json_t *value;
    int status = set_foundations(o, root, e);
    if (status)
        return status;
    json_object_foreach((json_t *)root, key, value)
    {
        const struct job_option *option = job_option_find(key);
        if (!strcmp(key, JOB_OPTION_SOURCE) && json_is_string(value))
            continue;
        if (!strcmp(key, JOB_OPTION_LOGPROBS) && json_is_boolean(value)) {
            o->params.token_logprobs = json_is_true(value);
            continue;
        }
        if (!option)
            return err_set(e, ERR_INVALID, "there is no option \"%.60s\"", key);
        if (strcmp(option->name, key) != 0 && json_object_get(root, option->name))
            return err_set(e, ERR_INVALID, "\"%s\" and \"%s\" are one option: give one",
                           key, option->name);
        status = set_option(o, option, value, e);
        if (status)
            return status;
    }
    return 0;
}

int job_options_parse(struct job_options *out, const char *json, struct err *e)
{
    *out = (struct job_options){.temperature_increment = 0.2f};
    whisper_params_init(&out->params);
    cue_options_init(&out->subtitles);
    if (!json || !*json)
        return 0;
    if (strlen(json) > OPTIONS_MAX_BYTES)
        return err_set(e, ERR_TOO_LARGE,
                       "the options take more than %d bytes: shorten the prompt",
                       OPTIONS_MAX_BYTES);
    json_error_t why;
    int status =
        json_read(&out->values, json, strlen(json), JSON_REJECT_DUPLICATES, &why);
    if (status == ERR_NOMEM)
        status = err_set(e, ERR_NOMEM, "out of memory");
    else
        status = json_is_object(out->values)
                     ? set_all(out, out->values, e)
                     : err_set(e, ERR_INVALID, "the options must be a JSON object");
    if (status)
        job_options_release(out);
    else if (out->subtitles.highlight_words)
        out->params.word_timestamps = true;
    return status;
}

void job_options_release(struct job_options *o)
{
    if (!o)
        return;
    json_decref(o->values);
    free(o->tokens);
    free(o->clips);
    *o = (struct job_options){0};
}
