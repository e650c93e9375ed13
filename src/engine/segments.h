/* From the tokens of a window to its segments and the place of the next window. */
#ifndef ENGINE_SEGMENTS_H
#define ENGINE_SEGMENTS_H

#include "engine/whisper.h"

/* A timestamp counts 0.02 s, two mel frames. */
#define FRAMES_PER_TIMESTAMP 2

/* Tokens [from, to) of a window are one segment; frames count from the window's start. */
struct piece {
    size_t from, to;
    int start_frame, end_frame;
};

/* Cut tokens[count] where two timestamps follow each other. `window_frames` is the part
 * of the window that is recording, 1 … 3000. pieces [count] receives the segments, whose
 * number is returned; *advance the frames to the next window, 1 … window_frames: what
 * stands behind the last pair is unfinished and will be heard again, unless the window
 * ends in a single timestamp, which says that nothing follows. */
size_t segments_split(const int32_t *tokens, size_t count, int32_t timestamp_begin,
                      int window_frames, struct piece *pieces, int *advance);

/* The same for a window that is heard once: all of the tokens belong to some piece. What
 * stands behind the last pair ends with the window, or with the last timestamp in it. */
size_t segments_cut(const int32_t *tokens, size_t count, int32_t timestamp_begin,
                    int window_frames, struct piece *pieces);

/* Put a segment's times between the end of what came before and the end of the audio.
 * False when no time is left: the segment must go. */
bool segments_clamp(double *start_seconds, double *end_seconds, double previous_end,
                    double duration);

/* A window of less recording than this holds no word, but a model that is shown one
 * invents some: 0.1 s. */
#define WINDOW_MIN_FRAMES 10

/* Frames of the window at `seek` in a recording of `total` frames that are recording;
 * 0: nothing is left that is worth a window. */
int segments_window_frames(int64_t seek, int64_t total);

#endif
