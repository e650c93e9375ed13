#include "api/options.h"

#include "base/mem.h"

#include <errno.h>
#include <math.h>
#include <strings.h>

enum type { TEXT, NUMBER, BOOLEAN };

static const struct option {
    const char *name; /* of the field */
    const char *key;  /* in job/options.h */
    enum type type;
} options[] = {
    {"prompt", "prompt", TEXT},
    {"initial_prompt", "prompt", TEXT},
    {"temperature", "temperature", NUMBER},
    {"condition_on_previous_text", "condition_on_previous_text", BOOLEAN},
    {"compression_ratio_threshold", "compression_ratio_threshold", NUMBER},
    {"log_prob_threshold", "log_prob_threshold", NUMBER},
    {"logprob_threshold", "log_prob_threshold", NUMBER},
    {"no_speech_threshold", "no_speech_threshold", NUMBER},
    {"word_timestamps", "word_timestamps", BOOLEAN},
};

void api_options_release(struct api_options *o)
{
    free(o->model);
    free(o->language);
    free(o->task);
    json_decref(o->rest);
    *o = (struct api_options){0};
}

static int set_text(char **field, const char *value, struct err *e)
{
    char *copy = strdup(value);
    if (!copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    free(*field);
    *field = copy;
    return 0;
}

/* A JSON value of the option's type, or NULL when the text is none. */
static json_t *read_value(enum type type, const char *value)
{
    if (type == TEXT)
        return json_string(value);
    if (type == BOOLEAN) {
        static const char *const words[2][5] = {{"false", "0", "no", "off", "False"},
                                                {"true", "1", "yes", "on", "True"}};
        for (int truth = 0; truth < 2; truth++)
            for (size_t i = 0; i < ARRAY_LENGTH(words[0]); i++)
                if (!strcasecmp(value, words[truth][i]))
                    return json_boolean(truth);
        return NULL;
    }
    char *end;
    errno = 0;
    double number = strtod(value, &end);
    bool good = end != value && !*end && !errno && isfinite(number);
    return good ? json_real(number) : NULL;
}

static int set_option(struct api_options *o, const struct option *option,
                      const char *value, struct err *e)
{
    json_t *v = read_value(option->type, value);
    if (!v)
        return err_set(e, ERR_INVALID, "\"%s\" must be %s, not \"%.40s\"", option->name,
                       option->type == NUMBER ? "a number" : "true or false", value);
    if (!o->rest)
        o->rest = json_object();
    if (!o->rest || json_object_set_new(o->rest, option->key, v))
        return err_set(e, ERR_NOMEM, "out of memory");
    return 0;
}

int api_options_set(struct api_options *o, const char *name, const char *value,
                    struct err *e)
{
    if (!*value)
        return 0;
    if (!strcmp(name, "model"))
        return set_text(&o->model, value, e);
    if (!strcmp(name, "language"))
        return set_text(&o->language, value, e);
    if (!strcmp(name, "task"))
        return set_text(&o->task, value, e);
    for (size_t i = 0; i < ARRAY_LENGTH(options); i++)
        if (!strcmp(name, options[i].name))
            return set_option(o, &options[i], value, e);
    return 0;
}

int api_options_set_all(struct api_options *o, const struct http_params *p, struct err *e)
{
    for (size_t i = 0; i < p->count; i++) {
        int status = api_options_set(o, p->list[i].name, p->list[i].value, e);
        if (status)
            return status;
    }
    return 0;
}
