/* Two lists are made one after the other: stretches of speech between all pauses, however
 * short, then the spans that they become. */
#include "engine/spans.h"

#include "base/mem.h"
#include "engine/vad.h"

#include <math.h>

#define MIN_PAUSE_FRAMES 9.8 /* of a place to cut */
#define SHORTEST_PART    50  /* frames, whatever max_speech_duration_s says */
#define EDGE_SHARE       0.2 /* of the threshold: beside speech it is speech too … */
#define EDGE_LENGTH      31  /* … for so many probabilities: a second */

/* A span by itself that the network is hardly sure of, and that is no louder than what
 * surrounds it, is a note of music or a knock in noise. */
#define WEAK_COUNT    3   /* probabilities that reach the threshold, at most … */
#define WEAK_SHARE    0.6 /* … and do not come so far from there to 1 */
#define ALONE_FRAMES  200 /* to the next span on either side */
#define AROUND_FRAMES 300
#define AROUND_LEAST  50
#define AROUND_SHARE  0.9
#define STANDS_OUT_DB 6

struct rules {
    double threshold, neg_threshold;
    bool plain;                          /* no more than the options say */
    double edge;                         /* below threshold: what adjoins speech */
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
    r->plain = !isnan(r->neg_threshold);
    if (!r->plain)
        r->neg_threshold = fmax(r->threshold - 0.15, 0.01);
    r->edge = EDGE_SHARE * r->threshold;
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

/* One that meets the stretch before it goes on with that. */
static int add_stretch(struct speech *s, size_t start, size_t end, struct err *e)
{
    int64_t from = frame_before(start);
    int64_t to = at_most(frame_behind(end), s->total_frames);
    if (s->n_spans && s->spans[s->n_spans - 1].end_frame >= from) {
        s->spans[s->n_spans - 1].end_frame = to;
        return 0;
    }
    return spans_add(s, from, to, e);
}

/* [*start, *end) with what adjoins it, from `least` on. Soft beginnings and ends of words
 * are where the network is unsure. */
static void widen(const struct speech *s, const struct rules *r, size_t least,
                  size_t *start, size_t *end)
{
    const float *p = s->probabilities;
    size_t from = *start, to = *end;
    while (from > least && *start - from < EDGE_LENGTH && (double)p[from - 1] >= r->edge)
        from--;
    while (to < s->n_probabilities && to - *end < EDGE_LENGTH &&
           (double)p[to] >= r->edge && (double)p[to] < r->threshold)
        to++;
    *start = from;
    *end = to;
}

/* Speech between all pauses, however short. */
static int find_stretches(struct speech *s, const struct rules *r, struct err *e)
{
    int rc = 0;
    size_t n = s->n_probabilities, start = 0, last = 0;
    bool speaking = false;
    for (size_t i = 0; rc == 0 && i <= n; i++) {
        double p = i < n ? (double)s->probabilities[i] : -1;
        if (!speaking && p >= r->threshold) {
            speaking = true;
            start = i;
        } else if (speaking && p < r->neg_threshold) {
            speaking = false;
            size_t end = i;
            if (!r->plain)
                widen(s, r, last, &start, &end);
            rc = add_stretch(s, start, end, e);
            last = end;
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

static bool is_unsure(const struct speech *s, const struct rules *r,
                      const struct speech_span *span)
{
    size_t count = 0, start = (size_t)span->start_frame * 160 / VAD_SAMPLES;
    size_t end = ((size_t)span->end_frame * 160 + VAD_SAMPLES - 1) / VAD_SAMPLES;
    double peak = 0;
    for (size_t i = start; i < end && i < s->n_probabilities; i++) {
        double p = (double)s->probabilities[i];
        peak = fmax(peak, p);
        count += p >= r->threshold;
    }
    return count <= WEAK_COUNT && peak < r->threshold + WEAK_SHARE * (1 - r->threshold);
}

/* Whether a span is louder than the three seconds before or those behind it. */
static bool stands_out(const struct speech *s, const struct speech_span *span)
{
    int64_t before = span->start_frame - at_most(AROUND_FRAMES, span->start_frame);
    int64_t behind = at_most(span->end_frame + AROUND_FRAMES, s->total_frames);
    int level = speech_loudness(s, span->start_frame, span->end_frame, AROUND_SHARE);
    int loudest = 0;
    if (span->start_frame - before >= AROUND_LEAST)
        loudest = speech_loudness(s, before, span->start_frame, AROUND_SHARE);
    if (behind - span->end_frame >= AROUND_LEAST) {
        int other = speech_loudness(s, span->end_frame, behind, AROUND_SHARE);
        loudest = other > loudest ? other : loudest;
    }
    return level >= loudest + STANDS_OUT_DB;
}

/* Spans that are too short, and those that may as well be something else. */
static void drop_doubtful(struct speech *s, const struct rules *r)
{
    size_t kept = 0;
    int64_t last = -ALONE_FRAMES; /* the end of the span before */
    for (size_t i = 0; i < s->n_spans; i++) {
        const struct speech_span span = s->spans[i];
        bool alone = span.start_frame - last >= ALONE_FRAMES &&
                     (i + 1 == s->n_spans || pause_behind(s, i) >= ALONE_FRAMES);
        bool doubtful =
            !r->plain && alone && is_unsure(s, r, &span) && !stands_out(s, &span);
        last = span.end_frame;
        if ((double)(span.end_frame - span.start_frame) >= r->min_speech && !doubtful)
            s->spans[kept++] = span;
    }
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
    drop_doubtful(s, &r);
    pad(s, &r);
    return rc;
}
