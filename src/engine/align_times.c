/* Where each word lies: the best way through pauses and tokens, column by column. */
#include "engine/align_times.h"

/* What a column that is sound takes from a pause, and a pause's own gives to it; and what
 * it takes from a word. Attention is about 3 where it is sure and -0.5 where it is not:
 * a word lies in silence only when there is nowhere else to lie. */
#define PAUSE_GAIN 2.0f
#define PAUSE_LOSS 5.0f

/* How quiet a column is: 1 in a pause, -1 in sound. Without levels, 0. */
static float quietness(const struct align *a, const struct align_request *r, size_t c)
{
    if (!r->levels)
        return 0;
    static const float of[] = {[SOUND_LOUD] = -1, [SOUND_SHORT] = 0, [SOUND_PAUSE] = 1};
    size_t frame = c * FRAMES_PER_COLUMN, other = frame + 1;
    if (other >= (size_t)r->frames)
        other = frame;
    return (of[a->sound[frame]] + of[a->sound[other]]) / 2;
}

static void hear(struct align *a, const struct align_request *r)
{
    if (r->levels)
        sound_find(r->levels, (size_t)r->frames, r->cuts, r->n_cuts, a->sound);
    for (size_t c = 0; c < a->columns; c++)
        a->pause[c] = PAUSE_GAIN * quietness(a, r, c);
    memset(a->cut, 0, a->columns * sizeof *a->cut);
    for (size_t i = 0; i < r->n_cuts; i++)
        a->cut[r->cuts[i] / FRAMES_PER_COLUMN] = true;
}

/* Row k becomes how well text token k fits each column. */
static const float *token_gain(struct align *a, size_t k)
{
    float *row = a->matrix + k * a->columns;
    warp_shift(a->line, row, a->columns, a->lag);
    for (size_t c = 0; c < a->columns; c++) {
        float quiet = a->pause[c] / PAUSE_GAIN;
        row[c] = a->line[c] - PAUSE_LOSS * (quiet > 0 ? quiet : 0);
    }
    return row;
}

/* What lies behind a word: where the model looks when it writes the word's punctuation
 * tells half of it, where the recording is quiet the other. */
static const float *pause_gain(struct align *a, const struct word_span *span)
{
    if (span->core_to == span->to)
        return a->pause;
    float *row = a->matrix + span->core_to * a->columns;
    warp_shift(a->line, row, a->columns, a->lag);
    for (size_t c = 0; c < a->columns; c++) {
        float told = (a->pause[c] + a->line[c]) / 2;
        row[c] = told > a->pause[c] ? told : a->pause[c];
    }
    return row;
}

/* A pause, the spoken tokens of a word, a pause, and so on. A word of punctuation alone
 * has no states. */
static size_t list_states(struct align *a, const struct words *w)
{
    size_t n = 0;
    a->states[n++] = (struct warp_state){.gain = a->pause, .pause = true};
    for (size_t i = 0; i < w->n_spans; i++) {
        const struct word_span *span = &w->spans[i];
        a->state_of[i] = n;
        for (size_t k = span->core_from; k < span->core_to; k++)
            a->states[n++] = (struct warp_state){.gain = token_gain(a, k),
                                                 .begins = k == span->core_from};
        if (span->core_from < span->core_to)
            a->states[n++] =
                (struct warp_state){.gain = pause_gain(a, span), .pause = true};
    }
    return n;
}

/* When there is more text than columns: each has its share. */
static void spread(struct align *a, size_t n)
{
    for (size_t s = 0; s < n; s++) {
        a->first[s] = s * a->columns / n;
        a->last[s] = (s + 1) * a->columns / n;
        a->last[s] -= a->last[s] > a->first[s];
    }
}

static size_t frame_of(const struct align_request *r, size_t column)
{
    size_t frame = column * FRAMES_PER_COLUMN;
    return frame < (size_t)r->frames ? frame : (size_t)r->frames;
}

/* The frames of every word; what is not spoken lies where the word before it ends, and so
 * does the beginning of a word that has to share a column. */
static void take_frames(struct align *a, const struct align_request *r,
                        const struct words *w)
{
    size_t before = 0;
    for (size_t i = 0; i < w->n_spans; i++) {
        const struct word_span *span = &w->spans[i];
        size_t spoken = span->core_to - span->core_from, s = a->state_of[i];
        size_t start = spoken ? frame_of(r, a->first[s]) : before;
        size_t end = spoken ? frame_of(r, a->last[s + spoken - 1] + 1) : before;
        a->start[i] = start > before ? start : before;
        a->end[i] = end > a->start[i] ? end : a->start[i];
        before = a->end[i];
    }
}

void align_find_times(struct align *a, const struct align_request *r,
                      const struct words *w)
{
    hear(a, r);
    size_t n = list_states(a, w);
    if (!warp_path(a->states, n, a->columns, a->cut, a->sum, a->trace, a->first,
                   a->last) &&
        !warp_path(a->states, n, a->columns, NULL, a->sum, a->trace, a->first, a->last))
        spread(a, n);
    take_frames(a, r, w);
    if (r->levels)
        sound_snap(a->sound, (size_t)r->frames, a->start, a->end, w->n_spans);
}
