/* A transcript from its JSON (json.c): strict in types and sizes, because a damaged row
 * or a broken pipe must not become a wrong transcript. Keys that we do not know are
 * skipped, so that an older version reads what a newer one wrote. */
#include "format/transcript.h"

#include "base/mem.h"

#include <jansson.h>
#include <math.h>

#define MAX_JSON_BYTES   ((size_t)512 << 20)
#define MAX_SEGMENTS     2000000
#define MAX_TOKENS       4096
#define MAX_SECONDS      1e9
#define MAX_SEGMENT_TEXT 65536

static int wrong(struct err *e, const char *key, const char *what)
{
    return err_set(e, ERR_CORRUPT, "the transcript's \"%s\" %s", key, what);
}

static int get_text(const json_t *object, const char *key, char *out, size_t size,
                    struct err *e)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return wrong(e, key, "is not text");
    if (json_string_length(value) >= size)
        return wrong(e, key, "is too long");
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

/* null stands for a number that JSON cannot hold. */
static int get_number(const json_t *object, const char *key, double *out, struct err *e)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value) && !json_is_null(value))
        return wrong(e, key, "is not a number");
    *out = json_is_null(value) ? (double)NAN : json_number_value(value);
    return 0;
}

static int get_float(const json_t *object, const char *key, float *out, struct err *e)
{
    double value = 0;
    int status = get_number(object, key, &value, e);
    *out = (float)value;
    return status;
}

static int get_seconds(const json_t *object, const char *key, double *out, struct err *e)
{
    int status = get_number(object, key, out, e);
    if (!status && !(*out >= 0 && *out <= MAX_SECONDS))
        return wrong(e, key, "is not a time");
    return status;
}

static int get_integer(const json_t *object, const char *key, int64_t max, int64_t *out,
                       struct err *e)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > max)
        return wrong(e, key, "is not a whole number in range");
    *out = json_integer_value(value);
    return 0;
}

static int get_tokens(const json_t *object, struct transcript_segment *s, struct err *e)
{
    const json_t *list = json_object_get(object, "tokens");
    if (!json_is_array(list) || json_array_size(list) > MAX_TOKENS)
        return wrong(e, "tokens", "is not a list, or too long");
    s->n_tokens = json_array_size(list);
    s->tokens = mem_array(s->n_tokens, sizeof *s->tokens);
    if (!s->tokens)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < s->n_tokens; i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > INT32_MAX)
            return wrong(e, "tokens", "holds what is not a token");
        s->tokens[i] = (int32_t)json_integer_value(value);
    }
    return 0;
}

static int get_segment_text(const json_t *object, struct transcript_segment *s,
                            struct err *e)
{
    const json_t *value = json_object_get(object, "text");
    if (!json_is_string(value))
        return wrong(e, "text", "is not text");
    if (json_string_length(value) > MAX_SEGMENT_TEXT)
        return wrong(e, "text", "is too long");
    s->text = mem_strdup(json_string_value(value));
    return s->text ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static int get_segment(const json_t *object, struct transcript_segment *s, struct err *e)
{
    if (!json_is_object(object))
        return wrong(e, "segments", "holds what is not a segment");
    int64_t id = 0;
    int status = get_integer(object, "id", INT32_MAX, &id, e);
    s->id = (int)id;
    if (!status)
        status = get_integer(object, "seek", INT64_MAX, &s->seek, e);
    if (!status)
        status = get_seconds(object, "start", &s->start, e);
    if (!status)
        status = get_seconds(object, "end", &s->end, e);
    if (!status)
        status = get_float(object, "temperature", &s->temperature, e);
    if (!status)
        status = get_float(object, "avg_logprob", &s->avg_logprob, e);
    if (!status)
        status = get_float(object, "compression_ratio", &s->compression_ratio, e);
    if (!status)
        status = get_float(object, "no_speech_prob", &s->no_speech_prob, e);
    if (!status)
        status = get_segment_text(object, s, e);
    if (!status)
        status = get_tokens(object, s, e);
    return status;
}

static int get_segments(const json_t *root, struct transcript *t, struct err *e)
{
    const json_t *list = json_object_get(root, "segments");
    if (!json_is_array(list) || json_array_size(list) > MAX_SEGMENTS)
        return wrong(e, "segments", "is not a list, or too long");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct transcript_segment s = {0};
        int status = get_segment(json_array_get(list, i), &s, e);
        if (!status && transcript_add(t, &s))
            status = err_set(e, ERR_NOMEM, "out of memory");
        free(s.text);
        free(s.tokens);
        if (status)
            return status;
    }
    return 0;
}

static int get_transcript(const json_t *root, struct transcript *t, struct err *e)
{
    if (!json_is_object(root))
        return err_set(e, ERR_CORRUPT, "the transcript is not a JSON object");
    float probability = 0;
    int status = get_text(root, "task", t->task, sizeof t->task, e);
    if (!status)
        status = get_text(root, "model", t->model, sizeof t->model, e);
    if (!status)
        status = get_text(root, "language", t->language, sizeof t->language, e);
    if (!status)
        status =
            get_text(root, "language_name", t->language_name, sizeof t->language_name, e);
    if (!status)
        status = get_float(root, "language_probability", &probability, e);
    t->language_probability = (double)probability;
    if (!status)
        status = get_seconds(root, "duration", &t->duration, e);
    if (!status && json_object_get(root, "warning"))
        status = get_text(root, "warning", t->warning, sizeof t->warning, e);
    if (!status)
        status = get_segments(root, t, e);
    return status;
}

int transcript_parse(struct transcript *t, const char *json, size_t length, struct err *e)
{
    transcript_init(t);
    if (length > MAX_JSON_BYTES)
        return err_set(e, ERR_TOO_LARGE, "the transcript is larger than %zu bytes",
                       MAX_JSON_BYTES);
    json_error_t error;
    json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return err_set(e, ERR_CORRUPT, "the transcript is not JSON (line %d: %s)",
                       error.line, error.text);
    int status = get_transcript(root, t, e);
    json_decref(root);
    if (status)
        transcript_release(t);
    return status;
}
