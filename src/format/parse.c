/* A transcript from its JSON (json.c): strict in types and sizes, because a damaged row
 * or a broken pipe must not become a wrong transcript. Keys that we do not know are
 * skipped, so that an older version reads what a newer one wrote. */
#include "format/transcript.h"

#include "base/json_text.h"
#include "base/mem.h"
#include "format/json_in.h"

#include <math.h>

#define MAX_JSON_BYTES ((size_t)512 << 20)
#define MAX_SEGMENTS   2000000
#define MAX_TOKENS     4096
#define MAX_WORDS      4096

static int get_tokens(const json_t *object, struct transcript_segment *s, struct err *e)
{
    const json_t *list = json_object_get(object, "tokens");
    if (!json_is_array(list) || json_array_size(list) > MAX_TOKENS)
        return json_wrong(e, "tokens", "is not a list, or too long");
    s->n_tokens = json_array_size(list);
    s->tokens = mem_array(s->n_tokens, sizeof *s->tokens);
    if (!s->tokens)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < s->n_tokens; i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > INT32_MAX)
            return json_wrong(e, "tokens", "holds what is not a token");
        s->tokens[i] = (int32_t)json_integer_value(value);
    }
    return 0;
}

static int get_word(const json_t *object, struct transcript_word *w, struct err *e)
{
    int status = json_get_long_text(object, "word", &w->text, e);
    if (!status)
        status = json_get_seconds(object, "start", &w->start, e);
    if (!status)
        status = json_get_seconds(object, "end", &w->end, e);
    if (!status)
        status = json_get_float(object, "probability", NAN, &w->probability, e);
    return status;
}

static int get_words(const json_t *object, struct transcript_segment *s, struct err *e)
{
    const json_t *list = json_object_get(object, "words");
    if (!json_is_array(list) || json_array_size(list) > MAX_WORDS)
        return json_wrong(e, "words", "is not a list, or too long");
    size_t count = json_array_size(list);
    s->words = mem_array(count + 1, sizeof *s->words);
    if (!s->words)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = 0;
    while (!status && s->n_words < count) {
        const json_t *word = json_array_get(list, s->n_words);
        status = get_word(word, &s->words[s->n_words++], e);
    }
    return status;
}

static int get_logprob(const json_t *object, struct transcript_token *t, struct err *e)
{
    int status = json_get_long_text(object, "bytes", &t->hex, e);
    if (!status &&
        (strlen(t->hex) % 2 || strspn(t->hex, "0123456789abcdef") != strlen(t->hex)))
        status = json_wrong(e, "bytes", "are not hexadecimal");
    if (!status)
        status = json_get_float(object, "logprob", NAN, &t->logprob, e);
    return status;
}

static int get_logprobs(const json_t *object, struct transcript_segment *s, struct err *e)
{
    const json_t *list = json_object_get(object, "logprobs");
    if (!json_is_array(list) || json_array_size(list) > MAX_TOKENS)
        return json_wrong(e, "logprobs", "is not a list, or too long");
    size_t count = json_array_size(list);
    s->logprobs = mem_array(count + 1, sizeof *s->logprobs);
    if (!s->logprobs)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = 0;
    while (!status && s->n_logprobs < count) {
        const json_t *token = json_array_get(list, s->n_logprobs);
        status = get_logprob(token, &s->logprobs[s->n_logprobs++], e);
    }
    return status;
}

static int get_segment(const json_t *object, struct transcript_segment *s, struct err *e)
{
    if (!json_is_object(object))
        return json_wrong(e, "segments", "holds what is not a segment");
    int64_t id = 0;
    int status = json_get_integer(object, "id", INT32_MAX, &id, e);
    s->id = (int)id;
    if (!status)
        status = json_get_integer(object, "seek", INT64_MAX, &s->seek, e);
    if (!status)
        status = json_get_seconds(object, "start", &s->start, e);
    if (!status)
        status = json_get_seconds(object, "end", &s->end, e);
    if (!status)
        status = json_get_float(object, "temperature", NAN, &s->temperature, e);
    if (!status)
        status = json_get_float(object, "avg_logprob", NAN, &s->avg_logprob, e);
    if (!status)
        status =
            json_get_float(object, "compression_ratio", NAN, &s->compression_ratio, e);
    if (!status)
        status = json_get_float(object, "no_speech_prob", NAN, &s->no_speech_prob, e);
    if (!status)
        status = json_get_long_text(object, "text", &s->text, e);
    if (!status)
        status = get_tokens(object, s, e);
    if (!status && json_object_get(object, "language"))
        status = json_get_text(object, "language", s->language, sizeof s->language, e);
    if (!status && json_object_get(object, "words"))
        status = get_words(object, s, e);
    if (!status && json_object_get(object, "logprobs"))
        status = get_logprobs(object, s, e);
    return status;
}

static int get_segments(const json_t *root, struct transcript *t, struct err *e)
{
    const json_t *list = json_object_get(root, "segments");
    if (!json_is_array(list) || json_array_size(list) > MAX_SEGMENTS)
        return json_wrong(e, "segments", "is not a list, or too long");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct transcript_segment s = {0};
        int status = get_segment(json_array_get(list, i), &s, e);
        if (!status && transcript_add(t, &s))
            status = err_set(e, ERR_NOMEM, "out of memory");
        transcript_segment_release(&s);
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
    int status = json_get_text(root, "task", t->task, sizeof t->task, e);
    if (!status)
        status = json_get_text(root, "model", t->model, sizeof t->model, e);
    if (!status)
        status = json_get_text(root, "language", t->language, sizeof t->language, e);
    if (!status)
        status = json_get_text(root, "language_name", t->language_name,
                               sizeof t->language_name, e);
    if (!status)
        status = json_get_float(root, "language_probability", NAN, &probability, e);
    t->language_probability = (double)probability;
    if (!status)
        status = json_get_seconds(root, "duration", &t->duration, e);
    if (!status && json_object_get(root, "warning"))
        status = json_get_text(root, "warning", t->warning, sizeof t->warning, e);
    if (!status)
        status = get_segments(root, t, e);
    const json_t *quality = json_object_get(root, "quality");
    if (!status && quality)
        status = json_get_quality(quality, &t->quality, e);
    return status;
}

int transcript_parse(struct transcript *t, const char *json, size_t length, struct err *e)
{
    transcript_init(t);
    if (length > MAX_JSON_BYTES)
        return err_set(e, ERR_TOO_LARGE, "the transcript is larger than %zu bytes",
                       MAX_JSON_BYTES);
    json_error_t error;
    json_t *root;
    int status = json_read(&root, json, length, JSON_REJECT_DUPLICATES, &error);
    if (status == ERR_NOMEM)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (status)
        return err_set(e, ERR_CORRUPT, "the transcript is not JSON (line %d: %s)",
                       error.line, error.text);
    status = get_transcript(root, t, e);
    json_decref(root);
    if (status)
        transcript_release(t);
    return status;
}
