/* When each word is spoken, in the times of the recording. */
#include "engine/longform.h"

#include "base/mem.h"
#include "engine/search.h"

#include <math.h>

/* Times are not exact: a last word may end so many frames behind the end of its segment.
 */
#define SLACK 20

/* ---- aligning ---------------------------------------------------------------------- */

/* What the aligner is told of a window beside its text. */
struct scene {
    struct piece *pieces; /* owned [n_pieces]: segments, the unfinished one too */
    size_t *ends;         /* owned [n_pieces]: where they end in the tokens */
    uint8_t *levels;      /* owned [frames] */
    int *cuts;            /* owned [n_cuts] */
    size_t n_pieces, n_cuts;
};

static void release(struct scene *s)
{
    free(s->pieces);
    free(s->ends);
    free(s->levels);
    free(s->cuts);
}

/* The levels of the window's frames, and where it was put together. */
static void fill_sound(const struct run *w, const struct window *window, struct scene *s)
{
    const struct speech *speech = &w->s->speech;
    int64_t before = -1;
    for (int i = 0; i < window->frames; i++) {
        int64_t frame = timeline_recording(w->t, window->at + i);
        s->levels[i] = frame < speech->total_frames ? speech->levels[frame] : 0;
        if (i > 0 && frame != before + 1)
            s->cuts[s->n_cuts++] = i;
        before = frame;
    }
}

static int prepare(const struct run *w, const struct heard *h, struct scene *s)
{
    size_t frames = (size_t)h->window.frames;
    s->pieces = mem_array(h->count + 1, sizeof(*s->pieces));
    s->ends = mem_array(h->count + 1, sizeof(*s->ends));
    s->levels = mem_array(frames + 1, sizeof(*s->levels));
    s->cuts = mem_array(frames + 1, sizeof(*s->cuts));
    if (!s->pieces || !s->ends || !s->levels || !s->cuts)
        return ERR_NOMEM;
    s->n_pieces = segments_cut(h->tokens, h->count,
                               tokenizer_specials(w->s->tokenizer)->timestamp_begin,
                               h->window.frames, s->pieces);
    for (size_t i = 0; i < s->n_pieces; i++)
        s->ends[i] = s->pieces[i].to;
    fill_sound(w, &h->window, s);
    return 0;
}

bool timing_has_gap(const struct run *w, int64_t from, int64_t to)
{
    const struct timeline *t = w->t;
    for (size_t i = timeline_stretch(t, from) + 1; i < t->n_stretches; i++) {
        const struct stretch *s = &t->stretches[i];
        if (s->at >= to)
            break;
        if (s->start_frame - s[-1].end_frame > TEXT_MAX_GAP)
            return true;
    }
    return false;
}

bool timing_wanted(const struct run *w, const struct heard *h)
{
    return w->p->word_timestamps ||
           timing_has_gap(w, h->window.at, h->window.at + h->window.frames);
}

/* Frames of the window that its text can be in. Where the model has said that it ends
 * before the window does, the rest belongs to another window, or to nobody: attention
 * would stretch the last word over it. */
static int frames_of(const struct run *w, const struct heard *h)
{
    int32_t begin = tokenizer_specials(w->s->tokenizer)->timestamp_begin;
    int64_t end = h->window.frames;
    if (h->tokens[h->count - 1] > begin)
        end = FRAMES_PER_TIMESTAMP * (int64_t)(h->tokens[h->count - 1] - begin) + SLACK;
    return end < h->window.frames ? (int)end : h->window.frames;
}

int timing_align(struct run *w, struct heard *h, int index, struct err *e)
{
    struct whisper_session *s = w->s;
    struct scene scene = {0};
    if (h->count == 0)
        return 0;
    int rc = s->align ? 0 : align_open(&s->align, s->model, s->net, s->tokenizer, e);
    if (rc < 0)
        return rc;
    if ((rc = prepare(w, h, &scene)) < 0) {
        release(&scene);
        return err_set(e, rc, "no memory is left for the words");
    }
    int frames = frames_of(w, h);
    while (scene.n_cuts > 0 && scene.cuts[scene.n_cuts - 1] >= frames)
        scene.n_cuts--;
    const struct align_request request = {
        .window = index,
        .slot = index * SEARCH_SLOTS,
        .language = h->language,
        .task = w->p->task,
        .tokens = h->tokens,
        .n_tokens = h->count,
        .segment_ends = scene.ends,
        .n_segments = scene.n_pieces,
        .frames = frames,
        .levels = scene.levels,
        .cuts = scene.cuts,
        .n_cuts = scene.n_cuts,
        .prepend = w->p->prepend_punctuations,
        .append = w->p->append_punctuations,
    };
    rc = align_window(s->align, &request, &h->words, &h->n_words, e);
    release(&scene);
    return rc;
}

/* ---- within segments ------------------------------------------------------------------
 */

/* Frames of the stream that a segment can have words in: attention may put a last word
 * anywhere in what follows, when the model has left that out. Not further away than
 * MARGIN from its own times, nor in a stretch into which it reaches by less than speech
 * is padded. */
#define MARGIN  100
#define PADDING 50

static void bounds_of(const struct run *w, const struct heard *h, const struct piece *p,
                      int64_t *from, int64_t *to)
{
    const struct timeline *t = w->t;
    int64_t start = h->window.at + p->start_frame, end = h->window.at + p->end_frame;
    *from = start - MARGIN;
    *to = end + MARGIN;
    for (size_t i = timeline_stretch(t, start); i + 1 < t->n_stretches; i++) {
        const struct stretch *next = &t->stretches[i + 1];
        if (next->at >= *to)
            break;
        if (next->at <= start + PADDING && next->at > *from)
            *from = next->at;
        if (next->at > *from && next->at >= end - PADDING) {
            *to = next->at;
            break;
        }
    }
}

static double clamp(double x, double from, double to)
{
    return x < from ? from : x < to ? x : to;
}

void timing_bound(const struct run *w, struct heard *h)
{
    size_t word = 0;
    for (size_t i = 0; i < h->n_pieces; i++) {
        const struct piece *p = &h->pieces[i];
        int64_t first, last;
        bounds_of(w, h, p, &first, &last);
        double from = (double)(first - h->window.at) / WHISPER_FRAMES_PER_SECOND;
        double to = (double)(last - h->window.at) / WHISPER_FRAMES_PER_SECOND;
        double end = (double)p->end_frame / WHISPER_FRAMES_PER_SECOND;
        if (i + 1 == h->n_pieces && end < to)
            to = end;
        for (; word < h->n_words && h->words[word].to <= p->to; word++) {
            struct align_word *x = &h->words[word];
            if (x->from < p->from)
                continue;
            x->start_seconds = clamp(x->start_seconds, from, to);
            x->end_seconds = clamp(x->end_seconds, from, to);
        }
    }
}

/* ---- in the recording ---------------------------------------------------------------
 */

/* The stretch of the recording that holds most of a word: that of its middle. */
static const struct stretch *stretch_of(const struct run *w, const struct heard *h,
                                        const struct align_word *word)
{
    double middle = (word->start_seconds + word->end_seconds) / 2;
    /* What ends with a stretch is in it. */
    int64_t at = h->window.at + (int64_t)(middle * WHISPER_FRAMES_PER_SECOND - 1e-6);
    size_t i = timeline_stretch(w->t, at);
    return &w->t->stretches[i < w->t->n_stretches ? i : w->t->n_stretches - 1];
}

/* A time of the window as a time of the recording, within the stretch; in whole
 * milliseconds, for finer ones are noise. */
static double place(const struct heard *h, const struct stretch *s, double seconds)
{
    double frame = (double)(s->start_frame + h->window.at - s->at) +
                   seconds * WHISPER_FRAMES_PER_SECOND;
    if (frame < (double)s->start_frame)
        frame = (double)s->start_frame;
    if (frame > (double)s->end_frame)
        frame = (double)s->end_frame;
    return round(frame * 10) / (10 * WHISPER_FRAMES_PER_SECOND);
}

size_t timing_together(const struct run *w, const struct heard *h, size_t from, size_t to)
{
    for (size_t i = from + 1; i < to; i++) {
        const struct stretch *a = stretch_of(w, h, &h->words[i - 1]);
        const struct stretch *b = stretch_of(w, h, &h->words[i]);
        if (a < b && timing_has_gap(w, a->at, b->at + 1))
            return i - from;
    }
    return to - from;
}

void timing_edges(const struct run *w, const struct heard *h, size_t from, size_t to,
                  double *start_seconds, double *end_seconds)
{
    const struct align_word *first = &h->words[from], *last = &h->words[to - 1];
    *start_seconds = place(h, stretch_of(w, h, first), first->start_seconds);
    double end = place(h, stretch_of(w, h, last), last->end_seconds);
    if (end > *start_seconds)
        *end_seconds = end;
}

int timing_words(const struct run *w, const struct heard *h, size_t from, size_t to,
                 struct whisper_segment *segment, struct err *e)
{
    double done = segment->start_seconds, limit = segment->end_seconds;
    segment->words = mem_array(to - from, sizeof(*segment->words));
    if (!segment->words)
        return err_set(e, ERR_NOMEM, "no memory is left for the words");
    for (size_t i = from; i < to; i++) {
        const struct align_word *word = &h->words[i];
        const struct stretch *s = stretch_of(w, h, word);
        double start = place(h, s, word->start_seconds);
        double end = place(h, s, word->end_seconds);
        start = start < done ? done : start < limit ? start : limit;
        end = end < start ? start : end < limit ? end : limit;
        done = end;
        char *text = mem_strdup(word->text);
        if (!text)
            return err_set(e, ERR_NOMEM, "no memory is left for the words");
        segment->words[segment->n_words++] =
            (struct whisper_word){text, start, end, word->probability};
    }
    return 0;
}
