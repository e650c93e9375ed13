/* Where speech is in a recording.
 *
 * Two finders: Silero's network (engine/vad.h), and, without its weights, a simple one
 * that judges by level alone. Both are cautious, as a word that is lost costs more than a
 * second of noise that is heard in vain. The level finder is no voice detector: it passes
 * over a stretch only when not one frame of it rises above the recording's own
 * background, and that background lies far below the recording's loud parts.
 *
 * Times are mel frames (10 ms, 160 samples), as everywhere in the engine. */
#ifndef ENGINE_SPEECH_H
#define ENGINE_SPEECH_H

#include "engine/whisper.h"

struct pool; /* engine/threads.h */
struct vad;  /* engine/vad.h */

#define FRAME_SAMPLES 160 /* of a mel frame */

struct speech_span {
    int64_t start_frame, end_frame; /* [start, end) */
};

enum speech_source {
    SPEECH_ALL, /* nothing was asked for or decided: one span, the recording */
    SPEECH_SILERO,
    SPEECH_ENERGY
};

struct speech {
    enum speech_source source;
    int64_t total_frames; /* of the recording: samples / 160 */
    /* Ascending, disjoint (a span may begin where the one before it ends), each at least
     * a frame long, within the recording. */
    struct speech_span *spans; /* owned [n_spans] */
    size_t n_spans, capacity;
    /* What the network says of every 512 samples, the last ones filled up with zeros;
     * none for other sources. */
    float *probabilities; /* owned [n_probabilities] */
    size_t n_probabilities, probabilities_capacity;
    uint8_t *levels; /* owned [total_frames]: dB above -100 dB of full scale */
    size_t levels_capacity;
};

/* Rules of the level finder. Levels in dB, lengths in frames. */
#define ENERGY_ABOVE_FLOOR                                                               \
    8                          /* the background may rise so much above its 10th centile \
                                */
#define ENERGY_BELOW_LOUD  25  /* and must stay so far below the 99th */
#define ENERGY_MIN_FRAMES  300 /* shorter stretches are pauses of speech */
#define ENERGY_MIN_AT_END  100 /* behind the last word nothing need be kept */
#define ENERGY_LEAD_FRAMES 50  /* at least so much stays in front of what sounds next */

/* Find the speech of a recording. May be called again for another one: the memory is used
 * again. NaN and infinities in the samples count as 0.
 *
 * `vad`: the network, or NULL for the level finder, which takes from the options only
 * max_speech_duration_s, speech_pad_ms and min_silence_duration_ms, the last two as
 * lower bounds. `pool` may be NULL: one thread. `cancelled` may be NULL.
 * ERR_NOMEM, ERR_CANCELLED, ERR_INVALID for options that make no sense. */
int speech_find(struct speech *s, const struct vad *vad, struct pool *pool,
                const float *samples, size_t n_samples,
                const struct whisper_vad_options *o, bool (*cancelled)(void *arg),
                void *arg, struct err *e);

/* Take the whole recording for speech. The levels are measured. ERR_NOMEM. */
int speech_all(struct speech *s, const float *samples, size_t n_samples, struct err *e);

void speech_release(struct speech *s);

/* Whether the frame lies in a span. */
bool speech_at(const struct speech *s, int64_t frame);

/* Seconds of speech within [from, to); for all: 0, total_frames. */
double speech_seconds(const struct speech *s, int64_t from, int64_t to);

/* What the network says of a frame; NaN, which is neither more nor less than anything,
 * where it was not asked. */
float speech_probability(const struct speech *s, int64_t frame);

/* The first frame of speech at or after `frame`; total_frames when there is none. */
int64_t speech_next(const struct speech *s, int64_t frame);

/* The first frame without speech at or after `frame`; at most total_frames. */
int64_t speech_end(const struct speech *s, int64_t frame);

/* The level that `share` of the frames of [from, to) do not exceed; digital silence is
 * left out, as it says nothing of the background. 100 where there is nothing else. */
int speech_loudness(const struct speech *s, int64_t from, int64_t to, double share);

/* A frame of at most this level is quiet, judged by the recording's own background and
 * loud parts. Digital silence is quiet in any recording. */
int speech_quiet_level(const struct speech *s);

/* The best place to cut within [from, to], by level: the middle of the quietest fifth of
 * a second; the later one of two that are equal. */
int64_t speech_quietest(const struct speech *s, int64_t from, int64_t to);

#endif
