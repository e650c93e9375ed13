/* Tokens to segments, in the times of the recording. */
#include "engine/longform.h"

#include "base/mem.h"

/* Append a segment; false in *added when there is no text in it. */
static int add(struct run *w, const struct whisper_segment *segment,
               const int32_t *tokens, size_t n_tokens, struct err *e)
{
    struct whisper_result *r = w->r;
    char *text = tokenizer_decode(w->s->tokenizer, tokens, n_tokens);
    int32_t *copy = mem_array(n_tokens, sizeof(*copy));
    size_t length = text ? strlen(text) : 0;
    int rc = 0;
    if (!text || !copy ||
        mem_grow(&r->segments, &r->capacity, r->n_segments + 1, sizeof(*r->segments)) < 0)
        rc = err_set(e, ERR_NOMEM, "no memory is left for the text");
    if (rc == 0)
        words_trim(text, &length);
    if (rc < 0 || length == 0) {
        free(text);
        free(copy);
        return rc;
    }
    memcpy(copy, tokens, n_tokens * sizeof(*tokens));
    struct whisper_segment *out = &r->segments[r->n_segments];
    *out = *segment;
    out->id = r->n_segments ? r->segments[r->n_segments - 1].id + 1 : 0;
    out->text = text;
    out->tokens = copy;
    out->n_tokens = n_tokens;
    r->n_segments++;
    if (w->c && w->c->segment)
        w->c->segment(w->c->arg, out);
    return 0;
}

static int write_piece(struct run *w, const struct heard *h, const struct piece *piece,
                       struct err *e)
{
    const struct window *window = &h->window;
    const struct whisper_result *r = w->r;
    int64_t from, to;
    int end = piece->end_frame < window->frames ? piece->end_frame : window->frames;
    if (piece->start_frame >= end)
        return 0;
    timeline_text(w->t, window->at + piece->start_frame, window->at + end, &from, &to);
    struct whisper_segment segment = {
        .seek_frame = timeline_recording(w->t, window->at),
        .start_seconds = (double)from / WHISPER_FRAMES_PER_SECOND,
        .end_seconds = (double)to / WHISPER_FRAMES_PER_SECOND,
        .temperature = h->attempt.temperature,
        .avg_logprob = h->attempt.avg_logprob,
        .compression_ratio = h->attempt.compression_ratio,
        .no_speech_prob = h->attempt.no_speech_prob,
        .language = h->language,
    };
    double previous = r->n_segments ? r->segments[r->n_segments - 1].end_seconds : 0;
    if (!segments_clamp(&segment.start_seconds, &segment.end_seconds, previous,
                        r->duration_seconds))
        return 0;
    return add(w, &segment, h->tokens + piece->from, piece->to - piece->from, e);
}

/* One segment to be, of one of the parts. */
struct line {
    const struct heard *heard;
    const struct piece *piece;
};

static int64_t line_at(const struct line *l)
{
    return l->heard->window.at + l->piece->start_frame;
}

/* The lines of all parts, in the order of their times; most are in order already. */
static struct line *sort_lines(const struct account *a, size_t *n)
{
    size_t count = 0;
    for (size_t i = 0; i < a->n_parts; i++)
        count += a->parts[i].n_pieces;
    struct line *lines = mem_array(count + 1, sizeof(*lines));
    *n = 0;
    for (size_t i = 0; lines && i < a->n_parts; i++) {
        for (size_t j = 0; j < a->parts[i].n_pieces; j++) {
            const struct line line = {&a->parts[i], &a->parts[i].pieces[j]};
            size_t at = (*n)++;
            for (; at > 0 && line_at(&lines[at - 1]) > line_at(&line); at--)
                lines[at] = lines[at - 1];
            lines[at] = line;
        }
    }
    return lines;
}

int write_account(struct run *w, struct account *a, struct err *e)
{
    size_t n;
    struct line *lines = sort_lines(a, &n);
    int rc = lines ? 0 : err_set(e, ERR_NOMEM, "no memory is left for the text");
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = write_piece(w, lines[i].heard, lines[i].piece, e);
    free(lines);
    for (size_t i = 0; rc == 0 && i < a->n_notes; i++) {
        rc = report_note(w->r, w->c, &a->notes[i], e);
        a->notes[i].text = NULL; /* it is the report's now */
    }
    return rc;
}
