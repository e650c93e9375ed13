/* Speech into windows, cut where nobody speaks. */
#ifndef ENGINE_PACK_H
#define ENGINE_PACK_H

#include "engine/timeline.h"

/* The best frame of the stream to cut at within [from, to]: at a joint, else in the
 * middle of a pause, a longer one before a shorter one and a later one before an earlier
 * one; where there is no pause, where it is quietest. */
int64_t pack_cut(const struct timeline *t, const struct speech *s, int64_t from,
                 int64_t to);

/* Cut the whole stream into windows of at most `most` frames, one behind the other and
 * appended to *windows (an owned heap array, may start as NULL). No window reaches over a
 * break. `few`: there are as few as the pauses allow, and what is left may fill a
 * whole window of WHISPER_WINDOW_FRAMES; else a long pause counts for more.
 * They depend on the recording alone. ERR_NOMEM. */
int pack_windows(const struct timeline *t, const struct speech *s, int most, bool few,
                 struct window **windows, size_t *n, size_t *capacity, struct err *e);

#endif
