#include "format/subtitles.h"

#include "format/text.h"

struct printer {
    const struct subtitle_style *style;
    struct buf *out;
    size_t number;
};

static void put_text(const struct printer *p, const char *text, size_t length)
{
    for (const char *end = text + length; text < end; text++) {
        if (p->style->escaped && *text == '&')
            buf_str(p->out, "&amp;");
        else if (p->style->escaped && *text == '<')
            buf_str(p->out, "&lt;");
        else
            buf_char(p->out, *text);
    }
}

static void put_times(const struct printer *p, int64_t start_ms, int64_t end_ms)
{
    const struct subtitle_style *s = p->style;
    text_time(p->out, start_ms, s->hours, s->decimal_marker);
    buf_str(p->out, " --> ");
    text_time(p->out, end_ms, s->hours, s->decimal_marker);
    buf_char(p->out, '\n');
}

static void put_line_with(const struct printer *p, const char *text, size_t from,
                          size_t to)
{
    buf_str(p->out, "<u>");
    put_text(p, text + from, to - from);
    buf_str(p->out, "</u>");
}

/* The word underlined, line by line: tags do not reach over a line's end. */
static void put_marked(const struct printer *p, const struct cue *c,
                       const struct cue_word *w)
{
    put_text(p, c->text, w->from);
    size_t at = w->from;
    while (at < w->to) {
        size_t length = strcspn(c->text + at, "\n");
        size_t to = at + length < w->to ? at + length : w->to;
        put_line_with(p, c->text, at, to);
        at = to;
        if (at < w->to)
            buf_char(p->out, c->text[at++]);
    }
    put_text(p, c->text + w->to, strlen(c->text + w->to));
}

static void put_cue(struct printer *p, const struct cue *c, const struct cue_word *w,
                    int64_t start_ms, int64_t end_ms)
{
    if (end_ms <= start_ms && w)
        return;
    if (p->style->numbered)
        buf_printf(p->out, "%zu\n", ++p->number);
    put_times(p, start_ms, end_ms);
    if (w)
        put_marked(p, c, w);
    else
        put_text(p, c->text, strlen(c->text));
    buf_str(p->out, "\n\n");
}

static int64_t within(const struct cue *c, int64_t at, int64_t from)
{
    at = at < from ? from : at;
    return at > c->end_ms ? c->end_ms : at;
}

/* One cue for each word, and for the time between words one without a mark: the text
 * stands still while the line below the word moves on. */
static void put_words(struct printer *p, const struct cue *c)
{
    int64_t at = c->start_ms;
    for (size_t i = 0; i < c->n_words; i++) {
        const struct cue_word *w = &c->words[i];
        int64_t start = within(c, w->start_ms, at), end = within(c, w->end_ms, start);
        if (start > at)
            put_cue(p, c, NULL, at, start);
        put_cue(p, c, w, start, end);
        at = end;
    }
    if (at < c->end_ms)
        put_cue(p, c, NULL, at, c->end_ms);
}

void subtitles_write(const struct transcript *t, const struct cue_options *o,
                     const struct subtitle_style *style, struct buf *out)
{
    struct printer p = {.style = style, .out = out};
    struct cues cues = {0};
    out->failed |= cues_build(t, o, &cues) != 0;
    buf_str(out, style->head);
    for (size_t i = 0; i < cues.count; i++) {
        const struct cue *c = &cues.list[i];
        if (o->highlight_words && c->n_words)
            put_words(&p, c);
        else
            put_cue(&p, c, NULL, c->start_ms, c->end_ms);
    }
    cues_release(&cues);
}
