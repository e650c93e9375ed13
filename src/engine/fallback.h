/* Was an attempt at a window good enough? The reference's measures, as pure functions. */
#ifndef ENGINE_FALLBACK_H
#define ENGINE_FALLBACK_H

#include "engine/whisper.h"

struct attempt {
    float temperature;
    float avg_logprob;       /* sum / (tokens + 1): end-of-text counts */
    float compression_ratio; /* of the trimmed text */
    float no_speech_prob;
};

/* Too repetitive or too improbable, and not because nothing is said: try the next
 * temperature. A threshold that is NaN is off. */
bool fallback_needed(const struct whisper_params *p, const struct attempt *a);

/* Too improbable, and not because nothing is said. */
bool fallback_improbable(const struct whisper_params *p, const struct attempt *a);

/* The text repeats itself more than text does. */
bool fallback_repetitive(const struct whisper_params *p, const struct attempt *a);

/* Of two attempts that are not good enough, is `a` the better? One that is not
 * repetitive, then the more probable. */
bool fallback_better(const struct whisper_params *p, const struct attempt *a,
                     const struct attempt *b);

/* Nothing is said in this window: skip it whole. */
bool fallback_silent(const struct whisper_params *p, const struct attempt *a);

/* The part of text[length] without white space around it. */
const char *words_trim(const char *text, size_t *length);

/* Bytes of text over bytes of its zlib stream at the default level, the reference's
 * measure of repetition; 0 for no text. 0 or ERR_NOMEM. */
int text_compression_ratio(const char *text, size_t length, float *ratio);

#endif
