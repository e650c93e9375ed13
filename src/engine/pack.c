#include "engine/pack.h"

#include "base/mem.h"

/* A pause longer than this is no better than this long. A joint is as good. */
#define LONG_PAUSE 100
/* Of two pauses this much shorter is the later one, at the other end of the choice. */
#define LATER_BONUS 40
/* What is shorter is no pause: a stop within a word. */
#define LEAST_PAUSE 10
/* Below this probability nobody speaks. */
#define PAUSE_PROBABILITY 0.35f

/* ---- a cut ------------------------------------------------------------------------ */

struct choice {
    int64_t from, to;
    int64_t at; /* the best until now */
    double score;
};

/* [start, end) of the stream is a pause that counts as `frames`. */
static void consider(struct choice *c, int64_t start, int64_t end, int64_t frames)
{
    if (frames < LEAST_PAUSE)
        return;
    int64_t at = start + (end - start) / 2;
    double length = (double)(frames < LONG_PAUSE ? frames : LONG_PAUSE);
    double score =
        length + LATER_BONUS * (double)(at - c->from) / (double)(c->to - c->from);
    if (score >= c->score) {
        c->score = score;
        c->at = at;
    }
}

static bool is_quiet(const struct speech *s, int64_t frame)
{
    return speech_probability(s, frame) < PAUSE_PROBABILITY;
}

/* Pauses of one stretch within the choice. */
static void pauses(struct choice *c, const struct speech *s,
                   const struct stretch *stretch)
{
    int64_t length = stretch->end_frame - stretch->start_frame, start = -1;
    int64_t first = c->from > stretch->at ? c->from - stretch->at : 0;
    int64_t last = c->to - stretch->at < length ? c->to - stretch->at : length;
    for (int64_t i = first; i <= last; i++) {
        bool quiet = i < last && is_quiet(s, stretch->start_frame + i);
        if (quiet && start < 0)
            start = i;
        if (!quiet && start >= 0) {
            consider(c, stretch->at + start, stretch->at + i, i - start);
            start = -1;
        }
    }
}

int64_t pack_cut(const struct timeline *t, const struct speech *s, int64_t from,
                 int64_t to)
{
    struct choice c = {from, to, -1, 0};
    if (to <= from)
        return to;
    size_t i = timeline_stretch(t, from);
    for (; i < t->n_stretches && t->stretches[i].at <= to; i++) {
        const struct stretch *stretch = &t->stretches[i];
        if (stretch->at >= from)
            consider(&c, stretch->at, stretch->at, LONG_PAUSE);
        pauses(&c, s, stretch);
    }
    if (c.at >= 0)
        return c.at;
    /* Neither joint nor pause: all is one stretch, and the later half of it will do. */
    int64_t middle = from + (to - from) / 2;
    int64_t first = timeline_recording(t, middle);
    return middle + speech_quietest(s, first, first + (to - middle)) - first;
}

/* ---- windows ---------------------------------------------------------------------- */

/* The length of the next window when `left` frames are to be cut into windows. As much
 * as fits, less a choice of pauses; and the last window should not be a mere rest. */
static int64_t window_frames(const struct timeline *t, const struct speech *s, int64_t at,
                             int64_t left, int64_t most, bool few)
{
    if (left <= (few ? WHISPER_WINDOW_FRAMES : most))
        return left;
    int64_t windows = (left + most - 1) / most;
    int64_t least = left - (windows - 1) * most;
    if (least < most / 3 || !few)
        least = most / 3;
    if (least > most * 3 / 4)
        least = most * 3 / 4;
    int64_t greatest = left - most / 10 < most ? left - most / 10 : most;
    if (least > greatest)
        least = greatest;
    return pack_cut(t, s, at + least, at + greatest) - at;
}

int pack_windows(const struct timeline *t, const struct speech *s, int most, bool few,
                 struct window **windows, size_t *n, size_t *capacity, struct err *e)
{
    int64_t at = 0;
    while (at < t->length) {
        int64_t frames = window_frames(t, s, at, timeline_to_break(t, at), most, few);
        if (mem_grow(windows, capacity, *n + 1, sizeof(**windows)) < 0)
            return err_set(e, ERR_NOMEM, "no memory is left for the windows");
        (*windows)[(*n)++] = (struct window){at, (int)frames};
        at += frames;
    }
    return 0;
}
