/* JSON: the reference's document (text, segments, language) and what else we know.
 *
 * It is also how transcripts are stored and cross pipes, so every number is written such
 * that it reads back as the same bits (parse.c). One line per segment: easy to look at
 * and to compare. */
#include "format/writers.h"

#include "format/json_out.h"
#include "format/text.h"

static void write_words(struct buf *out, const struct transcript_segment *s)
{
    buf_str(out, ", \"words\": [");
    for (size_t i = 0; i < s->n_words; i++) {
        const struct transcript_word *w = &s->words[i];
        buf_str(out, i ? ", {" : "{");
        json_text_member(out, "word", w->text);
        json_more_double(out, "start", w->start);
        json_more_double(out, "end", w->end);
        json_more_float(out, "probability", w->probability);
        buf_char(out, '}');
    }
    buf_char(out, ']');
}

static void write_logprobs(struct buf *out, const struct transcript_segment *s)
{
    buf_str(out, ", \"logprobs\": [");
    for (size_t i = 0; i < s->n_logprobs; i++) {
        buf_str(out, i ? ", {" : "{");
        json_text_member(out, "bytes", s->logprobs[i].hex);
        json_more_float(out, "logprob", s->logprobs[i].logprob);
        buf_char(out, '}');
    }
    buf_char(out, ']');
}

static void write_segment(struct buf *out, const struct transcript_segment *s)
{
    buf_printf(out, "{\"id\": %d, \"seek\": %lld", s->id, (long long)s->seek);
    json_more_double(out, "start", s->start);
    json_more_double(out, "end", s->end);
    json_more_text(out, "text", s->text);
    buf_str(out, ", \"tokens\": [");
    for (size_t i = 0; i < s->n_tokens; i++)
        buf_printf(out, "%s%d", i ? ", " : "", s->tokens[i]);
    buf_char(out, ']');
    json_more_float(out, "temperature", s->temperature);
    json_more_float(out, "avg_logprob", s->avg_logprob);
    json_more_float(out, "compression_ratio", s->compression_ratio);
    json_more_float(out, "no_speech_prob", s->no_speech_prob);
    if (s->language[0])
        json_more_text(out, "language", s->language);
    if (s->words)
        write_words(out, s);
    if (s->logprobs)
        write_logprobs(out, s);
    buf_char(out, '}');
}

static void write_whole_text(const struct transcript *t, struct buf *out)
{
    struct buf text;
    buf_init(&text, out->maximum);
    transcript_text(t, &text);
    json_text_member(out, "text", buf_cstr(&text));
    out->failed |= text.failed;
    buf_release(&text);
}

void json_write(const struct transcript *t, const struct cue_options *o, struct buf *out)
{
    (void)o;
    buf_char(out, '{');
    write_whole_text(t, out);
    buf_str(out, ",\n\"segments\": [");
    for (size_t i = 0; i < t->n_segments; i++) {
        buf_str(out, i ? ",\n" : "\n");
        write_segment(out, &t->segments[i]);
    }
    buf_str(out, "],\n");
    json_text_member(out, "language", t->language);
    json_more_text(out, "language_name", t->language_name);
    json_more_float(out, "language_probability", (float)t->language_probability);
    json_more_double(out, "duration", t->duration);
    json_more_text(out, "task", t->task);
    json_more_text(out, "model", t->model);
    if (t->warning[0]) {
        json_more_text(out, "warning", t->warning);
    }
    if (quality_exists(&t->quality)) {
        buf_str(out, ",\n\"quality\": ");
        json_quality_out(out, t);
    }
    buf_str(out, "}\n");
}
