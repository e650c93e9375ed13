/* JSON: the reference's document (text, segments, language) and what else we know.
 *
 * It is also how transcripts are stored and cross pipes, so every number is written such
 * that it reads back as the same bits (parse.c). One line per segment: easy to look at
 * and to compare. */
#include "format/writers.h"

#include "format/text.h"

static void write_string(struct buf *out, const char *text)
{
    buf_char(out, '"');
    while (*text) {
        uint32_t c = text_next(&text);
        if (c == '"' || c == '\\')
            buf_char(out, '\\');
        if (c == '\n')
            buf_str(out, "\\n");
        else if (c == '\t')
            buf_str(out, "\\t");
        else if (c < 0x20 || c == 0x7F)
            buf_printf(out, "\\u%04x", (unsigned)c);
        else
            text_put(out, c);
    }
    buf_char(out, '"');
}

static void write_text_member(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, "\"%s\": ", key);
    write_string(out, text);
}

static void write_float_member(struct buf *out, const char *key, float value)
{
    buf_printf(out, ", \"%s\": ", key);
    text_float(out, value);
}

static void write_double_member(struct buf *out, const char *key, double value)
{
    buf_printf(out, ", \"%s\": ", key);
    text_double(out, value);
}

static void write_segment(struct buf *out, const struct transcript_segment *s)
{
    buf_printf(out, "{\"id\": %d, \"seek\": %lld", s->id, (long long)s->seek);
    write_double_member(out, "start", s->start);
    write_double_member(out, "end", s->end);
    buf_str(out, ", ");
    write_text_member(out, "text", s->text);
    buf_str(out, ", \"tokens\": [");
    for (size_t i = 0; i < s->n_tokens; i++)
        buf_printf(out, "%s%d", i ? ", " : "", s->tokens[i]);
    buf_char(out, ']');
    write_float_member(out, "temperature", s->temperature);
    write_float_member(out, "avg_logprob", s->avg_logprob);
    write_float_member(out, "compression_ratio", s->compression_ratio);
    write_float_member(out, "no_speech_prob", s->no_speech_prob);
    buf_char(out, '}');
}

static void write_whole_text(const struct transcript *t, struct buf *out)
{
    struct buf text;
    buf_init(&text, out->maximum);
    transcript_text(t, &text);
    write_text_member(out, "text", buf_cstr(&text));
    out->failed |= text.failed;
    buf_release(&text);
}

void json_write(const struct transcript *t, struct buf *out)
{
    buf_char(out, '{');
    write_whole_text(t, out);
    buf_str(out, ",\n\"segments\": [");
    for (size_t i = 0; i < t->n_segments; i++) {
        buf_str(out, i ? ",\n" : "\n");
        write_segment(out, &t->segments[i]);
    }
    buf_str(out, "],\n");
    write_text_member(out, "language", t->language);
    buf_str(out, ", ");
    write_text_member(out, "language_name", t->language_name);
    write_float_member(out, "language_probability", (float)t->language_probability);
    write_double_member(out, "duration", t->duration);
    buf_str(out, ", ");
    write_text_member(out, "task", t->task);
    buf_str(out, ", ");
    write_text_member(out, "model", t->model);
    if (t->warning[0]) {
        buf_str(out, ", ");
        write_text_member(out, "warning", t->warning);
    }
    buf_str(out, "}\n");
}
