#include "engine/detect.h"

#include "base/mem.h"
#include "engine/spans.h"
#include "engine/vad.h"

#include <math.h>

#define LOUD_LEVEL     82 /* of the loud frames that the network likes: -18 dB */
#define LOUD_SHARE     0.99
#define SECOND_MIN_DB  12 /* a second hearing is worth it when so much louder … */
#define SECOND_MIN_GAP 40 /* … and so many frames are left without speech */

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
    size_t first = (size_t)from * 160 / VAD_SAMPLES;
    size_t end = (size_t)to * 160 / VAD_SAMPLES;
    size_t n = end - first;
    if (mem_grow(&h->again, &h->capacity, n, sizeof *h->again))
        return no_memory(e);
    int rc = hear(h, first * VAD_SAMPLES, n * VAD_SAMPLES, louder, h->again, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        s->probabilities[first + i] = fmaxf(s->probabilities[first + i], h->again[i]);
    return rc;
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
        rc = spans_find(s, o, e);
    if (rc == 0)
        rc = hear_gaps(&h, gain_db, e);
    if (rc == 0)
        rc = spans_find(s, o, e);
    free(h.again);
    return rc;
}
