/* How loud a recording is, and whether it was too loud for whatever recorded it: what the
 * quality report says of the sound itself. */
#ifndef ENGINE_LEVEL_H
#define ENGINE_LEVEL_H

#include "engine/speech.h"

struct level {
    float peak_dbfs;   /* the greatest sample; -inf: silence */
    float speech_dbfs; /* root mean square of the spans of speech; -inf: there are none */
    float clipped_share; /* of all samples, 0 … 1: those in runs at the upper or the lower
                          * end of what the recording reaches, close to full scale */
    float offset;        /* mean of all samples, -1 … 1: what a faulty input adds */
};

/* The fewest samples that lie side by side where a sound was clipped: a loud sound that
 * was not touches its peak for less. */
#define LEVEL_CLIPPED_RUN 3

/* Measure in one pass. NaN and infinities count as 0. Without speech (NULL) the whole
 * recording is taken for it. */
void level_measure(struct level *l, const float *samples, size_t n_samples,
                   const struct speech *s);

#endif
