/* The quality report: what the reader of a transcript should know of it. */
#ifndef ENGINE_REPORT_H
#define ENGINE_REPORT_H

#include "engine/speech.h"

/* Append a note and tell the caller of it. note->text becomes the report's, also when it
 * fails. ERR_NOMEM. */
int report_note(struct whisper_result *r, const struct whisper_callbacks *c,
                const struct whisper_note *note, struct err *e);

/* Append a vote. ERR_NOMEM. */
int report_vote(struct whisper_result *r, const struct whisper_vote *vote, struct err *e);

/* What is known before a window is heard: seconds of audio and of speech, the detector.
 */
void report_begin(struct whisper_result *r, const struct speech *s, bool vad_filter);

/* How loud the recording is, and its clipping: engine/level.h. */
void report_level(struct whisper_result *r, const struct speech *s, const float *samples,
                  size_t n_samples);

/* What only the segments tell: the seconds that they cover. */
void report_end(struct whisper_result *r);

#endif
