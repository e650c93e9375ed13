/* Two lists are made one after the other in the same array: stretches of speech between
 * all pauses, however short, then what becomes of them. */
#include "engine/spans.h"

#include "base/mem.h"
#include "engine/vad.h"

#include <math.h>

#define MIN_PAUSE_FRAMES 9.8 /* of a place to cut */
#define SHORTEST_PART    50  /* frames, whatever max_speech_duration_s says */

struct rules {
    double threshold, neg_threshold;
    double min_silence, min_speech, pad; /* in frames */
    int64_t longest;                     /* of a span without its padding; 0: any */
};

int spans_add(struct speech *s, int64_t start_frame, int64_t end_frame, struct err *e)
{
    if (start_frame >= end_frame)
        return 0;
    if (mem_grow(&s->spans, &s->capacity, s->n_spans + 1, sizeof *s->spans))
        return err_set(e, ERR_NOMEM, "no memory is left for the spans of speech");
    s->spans[s->n_spans++] = (struct speech_span){start_frame, end_frame};
    return 0;
}

int64_t spans_longest(const struct whisper_vad_options *o, int64_t padding)
{
    double frames = (double)o->max_speech_duration_s * WHISPER_FRAMES_PER_SECOND;
    if (frames > 1e12)
        return 0;
    int64_t longest = (int64_t)frames - padding;
    return longest < SHORTEST_PART ? SHORTEST_PART : longest;
}

static void set_rules(struct rules *r, const struct whisper_vad_options *o)
{
    r->threshold = (double)o->threshold;
    r->neg_threshold = (double)o->neg_threshold;
    if (isnan(r->neg_threshold))
        r->neg_threshold = fmax(r->threshold - 0.15, 0.01);
    r->neg_threshold = fmin(r->neg_threshold, r->threshold);
    r->min_silence = o->min_silence_duration_ms / 10.0;
    r->min_speech = o->min_speech_duration_ms / 10.0;
    r->pad = o->speech_pad_ms / 10.0;
    r->longest = spans_longest(o, (int64_t)ceil(2 * r->pad));
}

/* The mel frame in which, or at the end of which, a sample lies. */
static int64_t frame_before(size_t probability)
{
    return (int64_t)(probability * VAD_SAMPLES / 160);
}

static int64_t frame_behind(size_t probability)
{
    return (int64_t)((probability * VAD_SAMPLES + 159) / 160);
}

static int64_t at_most(int64_t value, int64_t limit)
{
    return value < limit ? value : limit;
}

/* ---- stretches ------------------------------------------------------------------- */

/* Speech between all pauses, however short. */
static int find_stretches(struct speech *s, const struct rules *r, struct err *e)
{
    int rc = 0;
    size_t n = s->n_probabilities, start = 0;
    bool speaking = false;
    for (size_t i = 0; rc == 0 && i <= n; i++) {
        double p = i < n ? (double)s->probabilities[i] : -1;
        if (!speaking && p >= r->threshold) {
            speaking = true;
            start = i;
        } else if (speaking && p < r->neg_threshold) {
            speaking = false;
            rc = spans_add(s, frame_before(start),
                           at_most(frame_behind(i), s->total_frames), e);
        }
    }
    return rc;
}

/* ---- spans ----------------------------------------------------------------------- */

static int64_t pause_behind(const struct speech *s, size_t i)
{
    return s->spans[i + 1].start_frame - s->spans[i].end_frame;
}

/* The stretch of [from, to) behind which a span that begins at `start` is best cut: the
 * one before the longest pause that lies in the second half of what it may last. -1: none
 * will do. */
static ptrdiff_t best_cut(const struct speech *s, const struct rules *r, int64_t start,
                          size_t from, size_t to)
{
    ptrdiff_t best = -1;
    for (size_t i = from; i + 1 < to; i++) {
        int64_t length = s->spans[i].end_frame - start;
        if (length > r->longest)
            break;
        if (length >= r->longest / 2 && (double)pause_behind(s, i) >= MIN_PAUSE_FRAMES &&
            (best < 0 || pause_behind(s, i) >= pause_behind(s, (size_t)best)))
            best = (ptrdiff_t)i;
    }
    return best;
}

/* Append to `out` what the stretches [from, to), which belong together, become. */
static int add_together(struct speech *out, const struct speech *s, const struct rules *r,
                        size_t from, size_t to, struct err *e)
{
    int rc = 0;
    int64_t start = s->spans[from].start_frame, end = s->spans[to - 1].end_frame;
    while (rc == 0 && r->longest && end - start > r->longest) {
        ptrdiff_t cut = best_cut(s, r, start, from, to);
        int64_t at = cut < 0
                         ? speech_quietest(s, start + r->longest / 2, start + r->longest)
                         : s->spans[cut].end_frame;
        rc = spans_add(out, start, at, e);
        start = at;
        if (cut >= 0)
            from = (size_t)cut + 1;
        while (from < to && s->spans[from].end_frame <= start)
            from++;
        if (s->spans[from].start_frame > start)
            start = s->spans[from].start_frame;
    }
    return rc < 0 ? rc : spans_add(out, start, end, e);
}

static int join_stretches(struct speech *out, const struct speech *s,
                          const struct rules *r, struct err *e)
{
    int rc = 0;
    size_t from = 0;
    for (size_t i = 0; rc == 0 && i < s->n_spans; i++) {
        if (i + 1 < s->n_spans && (double)pause_behind(s, i) < r->min_silence)
            continue;
        rc = add_together(out, s, r, from, i + 1, e);
        from = i + 1;
    }
    return rc;
}

static void drop_short(struct speech *s, const struct rules *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n_spans; i++)
        if ((double)(s->spans[i].end_frame - s->spans[i].start_frame) >= r->min_speech)
            s->spans[kept++] = s->spans[i];
    s->n_spans = kept;
}

static void pad(struct speech *s, const struct rules *r)
{
    int64_t wanted = (int64_t)ceil(r->pad), before = wanted;
    for (size_t i = 0; i < s->n_spans; i++) {
        struct speech_span *span = &s->spans[i];
        int64_t gap = i + 1 < s->n_spans ? pause_behind(s, i) : INT64_MAX;
        span->start_frame -= at_most(before, span->start_frame);
        span->end_frame += at_most(wanted, gap / 2);
        span->end_frame = at_most(span->end_frame, s->total_frames);
        before = gap == INT64_MAX ? 0 : at_most(wanted, gap - gap / 2);
    }
}

int spans_find(struct speech *s, const struct whisper_vad_options *o, struct err *e)
{
    struct rules r;
    struct speech out = {0};
    set_rules(&r, o);
    s->n_spans = 0;
    int rc = find_stretches(s, &r, e);
    if (rc == 0)
        rc = join_stretches(&out, s, &r, e);
    free(s->spans);
    s->spans = out.spans;
    s->n_spans = out.n_spans;
    s->capacity = out.capacity;
    drop_short(s, &r);
    pad(s, &r);
    return rc;
}
