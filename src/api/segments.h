/* A transcript's segments as other services write them. */
#ifndef API_SEGMENTS_H
#define API_SEGMENTS_H

#include "format/transcript.h"

#include <jansson.h>

/* A list of {"id","seek","start","end","text","tokens","temperature","avg_logprob",
 * "compression_ratio","no_speech_prob"}; with `words` also "words" of {"word","start",
 * "end","probability"}. A new reference, NULL when memory is out. */
json_t *segments_json(const struct transcript *t, bool words);

/* The words of all segments, trimmed: {"word","start","end"}. */
json_t *segments_words_json(const struct transcript *t);

/* A float without the digits that its double has too many; null for what is no number. */
json_t *segments_float(float value);

#endif
