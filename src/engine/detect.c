#include "engine/detect.h"

#include "base/mem.h"
#include "engine/spans.h"
#include "engine/vad.h"

#include <math.h>

#define LOUD_LEVEL     82 /* of the loud frames that the network likes: -18 dB */
#define LOUD_SHARE     0.99
#define SECOND_MIN_DB  12 /* a second hearing is worth it when so much louder … */
#define SECOND_MIN_GAP 40 /* … and so many frames are left without speech */

#define SURE           0.7F /* that somebody speaks */
#define UNSURE_LEAST   16   /* probabilities: half a second */
#define UNSURE_SHARE   0.9  /* of a stretch's frames are softer than its level */

struct hearing {
    struct speech *s;
    const struct vad *vad;
    struct pool *pool;
    const float *samples; /* borrowed [n_samples] */
    size_t n_samples;
    bool (*cancelled)(void *arg);
    void *arg;
    float *again; /* owned: probabilities of a second hearing */
    size_t capacity;
};

/* Decibels by which [from, to) must be turned up; never down. */
static int gain_for(const struct speech *s, int64_t from, int64_t to)
{
    int gain = LOUD_LEVEL - speech_loudness(s, from, to, LOUD_SHARE);
    return gain > 0 ? gain : 0;
}

static int hear(const struct hearing *h, size_t first, size_t n_samples, int gain_db,
                float *out, struct err *e)
{
    return vad_run(h->vad, h->pool, h->samples + first, n_samples,
                   (float)pow(10, gain_db / 20.0), out, h->cancelled, h->arg, e);
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory is left for the voice detector");
}

/* Hear probabilities [first, end) again from a fresh state, and keep the greater ones. */
static int hear_afresh(struct hearing *h, size_t first, size_t end, int gain_db,
                       struct err *e)
{
    struct speech *s = h->s;
    size_t n = end - first, from = first * VAD_SAMPLES;
    size_t n_samples = end == s->n_probabilities ? h->n_samples - from : n * VAD_SAMPLES;
    if (mem_grow(&h->again, &h->capacity, n, sizeof *h->again))
        return no_memory(e);
    int rc = hear(h, from, n_samples, gain_db, h->again, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        s->probabilities[first + i] = fmaxf(s->probabilities[first + i], h->again[i]);
    return rc;
}

static int hear_all(struct hearing *h, int gain_db, struct err *e)
{
    struct speech *s = h->s;
    size_t n = vad_count(h->n_samples);
    if (mem_grow(&s->probabilities, &s->probabilities_capacity, n,
                 sizeof *s->probabilities))
        return no_memory(e);
    int rc = hear(h, 0, h->n_samples, gain_db, s->probabilities, e);
    s->n_probabilities = rc < 0 ? 0 : n;
    return rc;
}

/* Hear [from, to) again, if that promises anything, and keep the greater probabilities.
 */
static int hear_again(struct hearing *h, int64_t from, int64_t to, int gain_db,
                      struct err *e)
{
    struct speech *s = h->s;
    int louder = gain_for(s, from, to);
    if (to - from < SECOND_MIN_GAP || louder < gain_db + SECOND_MIN_DB)
        return 0;
    size_t first = (size_t)from * FRAME_SAMPLES / VAD_SAMPLES;
    size_t end = (size_t)to * FRAME_SAMPLES / VAD_SAMPLES;
    return hear_afresh(h, first, end, louder, e);
}

static int hear_gaps(struct hearing *h, int gain_db, struct err *e)
{
    const struct speech *s = h->s;
    int64_t from = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->n_spans; i++) {
        rc = hear_again(h, from, s->spans[i].start_frame, gain_db, e);
        from = s->spans[i].end_frame;
    }
    return rc < 0 ? rc : hear_again(h, from, s->total_frames, gain_db, e);
}

/* Does something sound in probabilities [first, end)? */
static bool sounds(const struct speech *s, size_t first, size_t end, int quiet)
{
    int64_t from = (int64_t)(first * VAD_SAMPLES / FRAME_SAMPLES);
    int64_t to = (int64_t)(end * VAD_SAMPLES / FRAME_SAMPLES);
    if (to > s->total_frames)
        to = s->total_frames;
    return from < to && speech_loudness(s, from, to, UNSURE_SHARE) > quiet;
}

/* The network remembers what it has heard, and after some recordings does not know a
 * voice of another kind that it would know from a fresh start. So what sounds and what it
 * is not sure of it hears once more, from such a start. */
static int hear_unsure(struct hearing *h, int gain_db, struct err *e)
{
    const struct speech *s = h->s;
    int rc = 0, quiet = speech_quiet_level(s);
    size_t n = s->n_probabilities;
    for (size_t first = 0, end; rc == 0 && first < n; first = end + 1) {
        for (end = first; end < n && s->probabilities[end] < SURE; end++)
            ;
        if (end - first >= UNSURE_LEAST && sounds(s, first, end, quiet))
            rc = hear_afresh(h, first, end, gain_db, e);
    }
    return rc;
}

int detect_speech(struct speech *s, const struct vad *vad, struct pool *pool,
                  const float *samples, size_t n_samples,
                  const struct whisper_vad_options *o, bool (*cancelled)(void *arg),
                  void *arg, struct err *e)
{
    struct hearing h = {.s = s,
                        .vad = vad,
                        .pool = pool,
                        .samples = samples,
                        .n_samples = n_samples,
                        .cancelled = cancelled,
                        .arg = arg};
    int gain_db = gain_for(s, 0, s->total_frames);
    s->source = SPEECH_SILERO;
    int rc = hear_all(&h, gain_db, e);
    if (rc == 0)
        rc = hear_unsure(&h, gain_db, e);
    if (rc == 0)
        rc = spans_find(s, o, e);
    if (rc == 0)
        rc = hear_gaps(&h, gain_db, e);
    if (rc == 0)
        rc = spans_find(s, o, e);
    free(h.again);
    return rc;
}
