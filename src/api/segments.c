#include "api/segments.h"

#include "format/text.h"

#include <math.h>

json_t *segments_float(float value)
{
    char text[32];
    if (!isfinite(value))
        return json_null();
    (void)snprintf(text, sizeof text, "%.7g", (double)value);
    return json_real(strtod(text, NULL));
}

static json_t *tokens_json(const struct transcript_segment *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_tokens; i++)
        (void)json_array_append_new(list, json_integer(s->tokens[i]));
    return list;
}

static json_t *words_json(const struct transcript_segment *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_words; i++) {
        const struct transcript_word *w = &s->words[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:o}", "word",
                                                    w->text, "start", w->start, "end",
                                                    w->end, "probability",
                                                    segments_float(w->probability)));
    }
    return list;
}

static json_t *segment_json(const struct transcript_segment *s, bool words)
{
    json_t *o = json_pack("{s:i, s:I, s:f, s:f, s:s, s:o, s:o, s:o, s:o, s:o}", "id",
                          s->id, "seek", (json_int_t)s->seek, "start", s->start, "end",
                          s->end, "text", s->text, "tokens", tokens_json(s),
                          "temperature", segments_float(s->temperature), "avg_logprob",
                          segments_float(s->avg_logprob), "compression_ratio",
                          segments_float(s->compression_ratio), "no_speech_prob",
                          segments_float(s->no_speech_prob));
    if (o && words && s->words)
        (void)json_object_set_new(o, "words", words_json(s));
    return o;
}

json_t *segments_json(const struct transcript *t, bool words)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->n_segments; i++)
        if (json_array_append_new(list, segment_json(&t->segments[i], words))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *bare_word(const struct transcript_word *w)
{
    size_t length;
    const char *text = text_trimmed(w->text, &length);
    return json_pack("{s:s%, s:f, s:f}", "word", text, length, "start", w->start, "end",
                     w->end);
}

json_t *segments_words_json(const struct transcript *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->n_segments; i++)
        for (size_t k = 0; k < t->segments[i].n_words; k++)
            (void)json_array_append_new(list, bare_word(&t->segments[i].words[k]));
    return list;
}
