/* Long stretches in which nothing sounds, found by level alone.
 *
 * A model that is shown such a stretch invents words, and a window that begins with one
 * has less room for the speech behind it. This is no voice detector: it must never take
 * speech for silence, so a stretch counts only when not one frame of it rises above the
 * recording's own background, and the background lies far below its loud parts. */
#ifndef ENGINE_QUIET_H
#define ENGINE_QUIET_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct quiet {
    uint8_t *levels; /* owned [frames]: dB above -100 dB of full scale, 10 ms each */
    size_t frames;
    size_t capacity;
    int threshold; /* a frame of at most this level is quiet; -1: none is */
};

/* Levels in dB, lengths in mel frames of 10 ms. */
#define QUIET_ABOVE_FLOOR 8   /* the background may rise so much above its 10th centile */
#define QUIET_BELOW_LOUD  25  /* and must stay so far below the 99th */
#define QUIET_MIN_FRAMES  300 /* shorter stretches are pauses of speech */
#define QUIET_MIN_AT_END  100 /* behind the last word nothing need be kept */
#define QUIET_LEAD_FRAMES 50  /* stays in front of what sounds next */

/* Measure a recording; the samples are not kept. NaN and infinities count as 0. May be
 * called again for another recording. ERR_NOMEM. */
int quiet_begin(struct quiet *q, const float *samples, size_t n_samples, struct err *e);
void quiet_release(struct quiet *q);

/* Frames from `seek` that can be passed over, 0 when what is there may be speech. When
 * nothing sounds from there to the end, all that is left. */
int64_t quiet_skip(const struct quiet *q, int64_t seek);

#endif
