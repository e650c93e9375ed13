/* From probabilities to spans of speech: the rules that users of Silero VAD and of
 * faster-whisper know. */
#ifndef ENGINE_SPANS_H
#define ENGINE_SPANS_H

#include "engine/speech.h"

/* Fill s->spans from s->probabilities, one for every 512 samples. Needs total_frames and
 * levels too. In this order:
 *
 *   speech begins with a probability of at least threshold, and ends with the first below
 *     neg_threshold that is not followed by speech within min_silence_duration_ms;
 *   unless neg_threshold was given, what adjoins speech on either side is speech too as
 *     long as its probability is a fifth of threshold, but for no more than a second;
 *   a span longer than max_speech_duration_s is cut: at its longest pause of at least
 *     98 ms, if there is one in the second half of what it may last, else where it is
 *     quietest (without its padding it may last half a second at least);
 *   a span shorter than min_speech_duration_ms is dropped, and, unless neg_threshold was
 *     given, one that stands alone, of which the network is hardly sure, and that is no
 *     louder than what surrounds it;
 *   speech_pad_ms are added on both sides; neighbours that are nearer share what lies
 *     between them.
 *
 * The options must have been checked. ERR_NOMEM. */
int spans_find(struct speech *s, const struct whisper_vad_options *o, struct err *e);

/* Append a span; nothing when it is empty. ERR_NOMEM. */
int spans_add(struct speech *s, int64_t start_frame, int64_t end_frame, struct err *e);

/* Frames that a span may last without so many of padding: half a second at least; 0: any
 * number. */
int64_t spans_longest(const struct whisper_vad_options *o, int64_t padding);

#endif
