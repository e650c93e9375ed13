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

int write_heard(struct run *w, const struct heard *h, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < h->n_pieces; i++)
        rc = write_piece(w, h, &h->pieces[i], e);
    return rc;
}
