/* Texts to values, and values to texts: what forms and command lines have are texts, what
 * is stored and parsed is JSON. */
#include "job/options.h"

#include "base/json_text.h"
#include "base/mem.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <strings.h>

/* Strict: no blanks, no hexadecimal, nothing behind. NULL when it is no number. */
static json_t *number(const char *text, size_t length)
{
    char digits[64], *end;
    if (!length || length >= sizeof digits)
        return NULL;
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (strspn(digits, "0123456789+-.eE") != length)
        return NULL;
    errno = 0;
    long long whole = strtoll(digits, &end, 10);
    if (!*end && !errno)
        return json_integer(whole);
    double value = strtod(digits, &end);
    return *end || !isfinite(value) ? NULL : json_real(value);
}

static json_t *boolean(const char *text)
{
    static const char *const words[2][4] = {{"false", "0", "no", "off"},
                                            {"true", "1", "yes", "on"}};
    for (int truth = 0; truth < 2; truth++)
        for (size_t i = 0; i < ARRAY_LENGTH(words[0]); i++)
            if (!strcasecmp(text, words[truth][i]))
                return json_boolean(truth);
    return NULL;
}

/* "1, 2,3" or JSON. */
static json_t *list(const char *text)
{
    if (*text == '[')
        return json_loads(text, 0, NULL);
    json_t *all = json_array();
    for (const char *p = text; *p;) {
        p += strspn(p, " ");
        size_t length = strcspn(p, ", ");
        json_t *n = number(p, length);
        p += length;
        p += strspn(p, " ");
        bool ends = !*p || *p == ',';
        if (!ends)
            json_decref(n);
        if (!ends || !n || json_array_append_new(all, n)) {
            json_decref(all);
            return NULL;
        }
        p += *p == ',';
    }
    return all;
}

static json_t *temperatures(const char *text)
{
    json_t *one = number(text, strlen(text));
    return one ? one : list(text);
}

static bool means_none(const struct job_option *o, const char *text)
{
    return o->none != NONE_IS_DEFAULT &&
           (!strcasecmp(text, "none") || !strcasecmp(text, "off") ||
            (o->none == NONE_IS_ENDLESS && !strcasecmp(text, "inf")));
}

static json_t *read_value(const struct job_option *o, const char *text)
{
    if (means_none(o, text))
        return json_null();
    switch (o->kind) {
    case OPTION_BOOLEAN:
        return boolean(text);
    case OPTION_NUMBER:
    case OPTION_WHOLE:
    case OPTION_SEED:
        return number(text, strlen(text));
    case OPTION_TEMPERATURES:
        return temperatures(text);
    case OPTION_TOKENS:
    case OPTION_CLIPS:
        return list(text);
    case OPTION_VAD:
        return json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    case OPTION_TEXT:
    case OPTION_CHARACTERS:
    case OPTION_MODE:
    default:
        return json_string(text);
    }
}

/* The value is judged here, so that the one who sent it is told of it by its name. */
static int judge(const char *name, const json_t *value, struct err *e)
{
    struct job_options parsed;
    json_t *alone = json_object();
    (void)json_object_set(alone, name, (json_t *)value);
    char *text = json_text(alone, JSON_COMPACT);
    json_decref(alone);
    int status = text ? job_options_parse(&parsed, text, e)
                      : err_set(e, ERR_NOMEM, "out of memory");
    free(text);
    if (!status)
        job_options_release(&parsed);
    return status;
}

int job_options_put(json_t **object, const struct job_option *option, const char *text,
                    struct err *e)
{
    json_t *value = read_value(option, text);
    if (!value) {
        struct buf expects;
        buf_init(&expects, 400);
        job_option_expects(option, &expects);
        int status = err_set(e, ERR_INVALID, "\"%s\" must be %s, not \"%.40s\"",
                             option->name, buf_cstr(&expects), text);
        buf_release(&expects);
        return status;
    }
    int status = judge(option->name, value, e);
    if (!*object)
        *object = json_object();
    if (!status && json_object_set(*object, option->name, value))
        status = err_set(e, ERR_NOMEM, "out of memory");
    json_decref(value);
    return status;
}

static void put_number(struct buf *out, double value)
{
    if (!isfinite(value))
        buf_str(out, "none");
    else
        buf_printf(out, "%.6g", value);
}

void job_option_default(const struct job_option *o, struct buf *out)
{
    struct job_options defaults;
    if (job_options_parse(&defaults, NULL, NULL))
        return;
    const void *at = (const char *)&defaults + o->offset;
    switch (o->kind) {
    case OPTION_NUMBER:
        put_number(out, (double)*(const float *)at);
        break;
    case OPTION_WHOLE:
        put_number(out, *(const int *)at);
        break;
    case OPTION_BOOLEAN:
        buf_str(out, *(const bool *)at ? "on" : "off");
        break;
    case OPTION_SEED:
        buf_str(out, "0");
        break;
    case OPTION_TEMPERATURES:
        buf_str(out, "0");
        break;
    case OPTION_TOKENS:
        buf_str(out, "-1");
        break;
    case OPTION_MODE:
        buf_str(out, "default");
        break;
    default:
        break;
    }
    job_options_release(&defaults);
}
