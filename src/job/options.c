#include "job/options.h"

#include <jansson.h>
#include <math.h>

/* The reference's ladder: 0, 0.2 … 1; one that begins higher keeps the steps above. */
static void set_ladder(struct whisper_params *p, float first)
{
    p->n_temperatures = 0;
    for (int i = 0; first + 0.2f * (float)i < 1.0001f && i < WHISPER_MAX_TEMPERATURES;
         i++)
        p->temperatures[p->n_temperatures++] = first + 0.2f * (float)i;
}

static int number_in(const char *key, const json_t *value, double low, double high,
                     float *out, struct err *e)
{
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(number >= low && number <= high))
        return err_set(e, ERR_INVALID, "the option \"%s\" must be a number from %g to %g",
                       key, low, high);
    *out = (float)number;
    return 0;
}

static int boolean(const char *key, const json_t *value, bool *out, struct err *e)
{
    if (!json_is_boolean(value))
        return err_set(e, ERR_INVALID, "the option \"%s\" must be true or false", key);
    *out = json_is_true(value);
    return 0;
}

static int set_prompt(struct job_options *o, const json_t *value, struct err *e)
{
    if (!json_is_string(value))
        return err_set(e, ERR_INVALID, "the option \"prompt\" must be a text");
    free(o->prompt);
    o->prompt = strdup(json_string_value(value));
    if (!o->prompt)
        return err_set(e, ERR_NOMEM, "out of memory");
    o->params.initial_prompt = *o->prompt ? o->prompt : NULL;
    return 0;
}

static int set_option(struct job_options *o, const char *key, const json_t *value,
                      struct err *e)
{
    struct whisper_params *p = &o->params;
    if (json_is_null(value))
        return 0;
    if (!strcmp(key, "prompt"))
        return set_prompt(o, value, e);
    if (!strcmp(key, "temperature")) {
        float first = 0;
        int status = number_in(key, value, 0, 1, &first, e);
        if (!status)
            set_ladder(p, first);
        return status;
    }
    if (!strcmp(key, "condition_on_previous_text"))
        return boolean(key, value, &p->condition_on_previous_text, e);
    if (!strcmp(key, "compression_ratio_threshold"))
        return number_in(key, value, 0, 1000, &p->compression_ratio_threshold, e);
    if (!strcmp(key, "log_prob_threshold"))
        return number_in(key, value, -1000, 0, &p->log_prob_threshold, e);
    if (!strcmp(key, "no_speech_threshold"))
        return number_in(key, value, 0, 1, &p->no_speech_threshold, e);
    if (!strcmp(key, "word_timestamps")) {
        bool wanted = false;
        int status = boolean(key, value, &wanted, e);
        if (!status && wanted)
            status =
                err_set(e, ERR_UNSUPPORTED,
                        "word timestamps are not available: leave word_timestamps out");
        return status;
    }
    return err_set(e, ERR_INVALID, "there is no option \"%.60s\"", key);
}

int job_options_parse(struct job_options *out, const char *json, struct err *e)
{
    *out = (struct job_options){0};
    whisper_params_init(&out->params);
    if (!json || !*json)
        return 0;
    if (strlen(json) > OPTIONS_MAX_BYTES)
        return err_set(e, ERR_TOO_LARGE,
                       "the options take more than %d bytes: shorten the prompt",
                       OPTIONS_MAX_BYTES);
    json_error_t why;
    json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(e, ERR_INVALID, "the options must be a JSON object");
    }
    int status = 0;
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        status = set_option(out, key, value, e);
        if (status)
            break;
    }
    json_decref(root);
    if (status)
        job_options_release(out);
    return status;
}

void job_options_release(struct job_options *o)
{
    if (!o)
        return;
    free(o->prompt);
    o->prompt = NULL;
    o->params.initial_prompt = NULL;
}
