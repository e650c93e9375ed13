#include "engine/speech.h"

#include "base/mem.h"
#include "engine/detect.h"
#include "engine/spans.h"
#include "engine/vad.h"

#include <math.h>

#define LEVELS     101
#define CUT_FRAMES 20 /* a fifth of a second */

/* ---- levels ---------------------------------------------------------------------- */

/* dB above -100 dB of full scale, 0 … 100. */
static uint8_t level_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float v = x[i];
        if (isfinite(v))
            sum += (double)v * v;
    }
    double db = 100 + 10 * log10(sum / (double)n + 1e-12);
    return db <= 0 ? 0 : db >= 100 ? 100 : (uint8_t)lrint(db);
}

static int measure(struct speech *s, const float *samples, size_t n_samples,
                   struct err *e)
{
    size_t frames = n_samples / FRAME_SAMPLES;
    s->total_frames = (int64_t)frames;
    s->n_spans = 0;
    s->n_probabilities = 0;
    if (mem_grow(&s->levels, &s->levels_capacity, frames, sizeof *s->levels))
        return err_set(e, ERR_NOMEM, "no memory is left to measure the recording");
    for (size_t i = 0; i < frames; i++)
        s->levels[i] = level_of(samples + i * FRAME_SAMPLES, FRAME_SAMPLES);
    return 0;
}

int speech_loudness(const struct speech *s, int64_t from, int64_t to, double share)
{
    size_t histogram[LEVELS] = {0}, sounding = 0, seen = 0;
    for (int64_t i = from; i < to; i++) {
        histogram[s->levels[i]]++;
        sounding += s->levels[i] > 0;
    }
    size_t wanted = (size_t)(share * (double)sounding);
    for (int i = 1; i < LEVELS; i++) {
        seen += histogram[i];
        if (seen > wanted)
            return i;
    }
    return LEVELS - 1;
}

int speech_quiet_level(const struct speech *s)
{
    int background = speech_loudness(s, 0, s->total_frames, 0.10) + ENERGY_ABOVE_FLOOR;
    int loud = speech_loudness(s, 0, s->total_frames, 0.99) - ENERGY_BELOW_LOUD;
    int level = background < loud ? background : loud;
    return level < 0 ? 0 : level;
}

int64_t speech_quietest(const struct speech *s, int64_t from, int64_t to)
{
    if (from < 0)
        from = 0;
    if (to > s->total_frames)
        to = s->total_frames;
    if (to - from <= CUT_FRAMES)
        return from < to ? from + (to - from) / 2 : to;
    int sum = 0, best = INT32_MAX;
    int64_t at = from;
    for (int64_t i = from; i < to; i++) {
        sum += s->levels[i];
        if (i - from >= CUT_FRAMES)
            sum -= s->levels[i - CUT_FRAMES];
        if (i - from >= CUT_FRAMES - 1 && sum <= best) {
            best = sum;
            at = i + 1 - CUT_FRAMES / 2;
        }
    }
    return at;
}

/* ---- spans ----------------------------------------------------------------------- */

/* Append [start, end), in parts of at most `longest` frames (0: any length), each cut
 * where it is quietest in its second half. */
static int add_parts(struct speech *s, int64_t start, int64_t end, int64_t longest,
                     struct err *e)
{
    int rc = 0;
    while (rc == 0 && start < end) {
        int64_t cut = end;
        if (longest > 0 && end - start > longest)
            cut = speech_quietest(s, start + longest / 2, start + longest);
        rc = spans_add(s, start, cut, e);
        start = cut;
    }
    return rc;
}

int speech_all(struct speech *s, const float *samples, size_t n_samples, struct err *e)
{
    int rc = measure(s, samples, n_samples, e);
    s->source = SPEECH_ALL;
    return rc < 0 ? rc : spans_add(s, 0, s->total_frames, e);
}

void speech_release(struct speech *s)
{
    if (!s)
        return;
    free(s->spans);
    free(s->probabilities);
    free(s->levels);
    *s = (struct speech){0};
}

/* ---- the level finder ------------------------------------------------------------ */

struct energy {
    int quiet;            /* frames of at most this level are quiet */
    int64_t min_frames;   /* of a stretch that is passed over */
    int64_t lead, behind; /* frames of it that stay */
    int64_t longest;      /* of a span; 0: any */
};

static int64_t max_frames(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void energy_rules(struct energy *r, const struct speech *s,
                         const struct whisper_vad_options *o)
{
    r->quiet = speech_quiet_level(s);
    r->min_frames = max_frames(ENERGY_MIN_FRAMES, o->min_silence_duration_ms / 10);
    r->lead = max_frames(ENERGY_LEAD_FRAMES, o->speech_pad_ms / 10);
    r->behind = o->speech_pad_ms / 10;
    r->longest = spans_longest(o, 0);
}

/* The end of the quiet stretch that begins at `frame`. */
static int64_t quiet_end(const struct speech *s, int quiet, int64_t frame)
{
    while (frame < s->total_frames && s->levels[frame] <= quiet)
        frame++;
    return frame;
}

/* What of the quiet stretch [start, end) is passed over; nothing when *from >= *to. Only
 * of digital silence is a whole recording quiet: then it may be short. */
static void passed_over(const struct energy *r, const struct speech *s, int64_t start,
                        int64_t end, int64_t *from, int64_t *to)
{
    bool at_end = end == s->total_frames;
    *from = start ? start + r->behind : 0;
    *to = at_end ? end : end - r->lead;
    int64_t least = !at_end ? r->min_frames : start ? ENERGY_MIN_AT_END : 0;
    if (end - start < least)
        *to = *from;
}

static int find_by_level(struct speech *s, const struct whisper_vad_options *o,
                         struct err *e)
{
    struct energy r;
    int64_t begun = 0; /* of the span at hand */
    int rc = 0;
    energy_rules(&r, s, o);
    s->source = SPEECH_ENERGY;
    for (int64_t i = 0; rc == 0 && i < s->total_frames;) {
        int64_t from, to, end = quiet_end(s, r.quiet, i);
        passed_over(&r, s, i, end, &from, &to);
        if (from < to) {
            rc = add_parts(s, begun, from, r.longest, e);
            begun = to;
        }
        i = end + 1;
    }
    return rc < 0 ? rc : add_parts(s, begun, s->total_frames, r.longest, e);
}

/* ---- the call -------------------------------------------------------------------- */

static int check_options(const struct whisper_vad_options *o, struct err *e)
{
    if (!(o->threshold >= 0 && o->threshold <= 1))
        return err_set(e, ERR_INVALID,
                       "vad threshold must lie between 0 and 1, but is %g",
                       (double)o->threshold);
    if (!isnan(o->neg_threshold) && !(o->neg_threshold >= 0 && o->neg_threshold <= 1))
        return err_set(e, ERR_INVALID,
                       "vad neg_threshold must lie between 0 and 1, but is %g",
                       (double)o->neg_threshold);
    if (!(o->max_speech_duration_s > 0))
        return err_set(e, ERR_INVALID,
                       "vad max_speech_duration_s must be above 0, but is %g",
                       (double)o->max_speech_duration_s);
    if (o->min_speech_duration_ms < 0 || o->min_silence_duration_ms < 0 ||
        o->speech_pad_ms < 0)
        return err_set(e, ERR_INVALID, "vad durations must not be negative");
    return 0;
}

int speech_find(struct speech *s, const struct vad *vad, struct pool *pool,
                const float *samples, size_t n_samples,
                const struct whisper_vad_options *o, bool (*cancelled)(void *arg),
                void *arg, struct err *e)
{
    int rc = check_options(o, e);
    if (rc == 0)
        rc = measure(s, samples, n_samples, e);
    if (rc == 0 && cancelled && cancelled(arg))
        rc = err_set(e, ERR_CANCELLED, "the transcription was cancelled");
    if (rc < 0)
        return rc;
    return vad ? detect_speech(s, vad, pool, samples, n_samples, o, cancelled, arg, e)
               : find_by_level(s, o, e);
}

/* ---- questions ------------------------------------------------------------------- */

/* The first span that ends behind the frame; n_spans when none does. */
static size_t span_behind(const struct speech *s, int64_t frame)
{
    size_t low = 0, high = s->n_spans;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->spans[middle].end_frame > frame)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

float speech_probability(const struct speech *s, int64_t frame)
{
    size_t i = (size_t)frame * FRAME_SAMPLES / VAD_SAMPLES;
    return i < s->n_probabilities ? s->probabilities[i] : NAN;
}

bool speech_at(const struct speech *s, int64_t frame)
{
    size_t i = span_behind(s, frame);
    return i < s->n_spans && s->spans[i].start_frame <= frame;
}

double speech_seconds(const struct speech *s, int64_t from, int64_t to)
{
    int64_t sum = 0;
    for (size_t i = span_behind(s, from); i < s->n_spans; i++) {
        const struct speech_span *span = &s->spans[i];
        if (span->start_frame >= to)
            break;
        sum += (span->end_frame < to ? span->end_frame : to) -
               max_frames(span->start_frame, from);
    }
    return (double)sum / WHISPER_FRAMES_PER_SECOND;
}

int64_t speech_next(const struct speech *s, int64_t frame)
{
    size_t i = span_behind(s, frame);
    return i < s->n_spans ? max_frames(s->spans[i].start_frame, frame) : s->total_frames;
}

int64_t speech_end(const struct speech *s, int64_t frame)
{
    for (size_t i = span_behind(s, frame);
         i < s->n_spans && s->spans[i].start_frame <= frame; i++)
        frame = s->spans[i].end_frame;
    return frame < s->total_frames ? frame : s->total_frames;
}
