/* What of a recording is heard, as one stream.
 *
 * Speech is all that a model is shown: the stretches of the recording that hold some, and
 * that the caller wants to have, one behind the other, are a stream of mel frames.
 * Windows are cut out of the stream, and everything that is found in them is told in the
 * frames of the recording again: these functions know the way in both directions. A frame
 * of the stream is a frame of the recording; nothing is resampled or blended.
 *
 * Where stretches may not share a window, the stream has a break. */
#ifndef ENGINE_TIMELINE_H
#define ENGINE_TIMELINE_H

#include "engine/mel.h"
#include "engine/speech.h"

struct stretch {
    int64_t start_frame, end_frame; /* of the recording, [start, end) */
    int64_t at;                     /* its first frame in the stream */
    bool begins;                    /* a window may not reach into it from before */
};

struct timeline {
    struct stretch *stretches; /* owned [n_stretches], ascending, never touching */
    size_t n_stretches, capacity;
    int64_t length;       /* of the stream, in frames */
    int64_t total_frames; /* of the recording */
};

/* A part of the stream that is heard at once; it has no break inside. */
struct window {
    int64_t at; /* in the stream */
    int frames; /* 1 … WHISPER_WINDOW_FRAMES */
};

/* The spans [n_spans] of speech, ascending and disjoint, as far as they lie within the
 * clips [n_clips] (none: everywhere). A gap of more than `join_frames` is a break, and so
 * is the end of a clip. Stretches too short for a window of their own
 * (segments.h: WINDOW_MIN_FRAMES) go, unless they join others. May be called again: the
 * memory is used again. ERR_NOMEM. */
int timeline_build(struct timeline *t, const struct speech_span *spans, size_t n_spans,
                   const struct whisper_clip *clips, size_t n_clips, int64_t total_frames,
                   int64_t join_frames, struct err *e);
void timeline_release(struct timeline *t);

/* The recording's frame of the stream's frame `at`; total_frames at or behind its end. */
int64_t timeline_recording(const struct timeline *t, int64_t at);

/* The same for the end of something: the frame behind that of at - 1, so that what ends
 * with a stretch ends there and not where the next one begins. 0 for at <= 0. */
int64_t timeline_recording_end(const struct timeline *t, int64_t at);

/* The stream's frame of the recording's frame, or of the first behind it that is heard;
 * the stream's length when there is none. */
int64_t timeline_stream(const struct timeline *t, int64_t frame);

/* Frames from `at` to the next break or the end of the stream. */
int64_t timeline_to_break(const struct timeline *t, int64_t at);

/* The stretch that holds the stream's frame `at`; n_stretches at or behind its end. */
size_t timeline_stretch(const struct timeline *t, int64_t at);

/* The pieces of the recording that are the stream's frames [at, at + frames), at most
 * 3000, into out [max]. Returns their number; `max` of 3000 is always enough. */
size_t timeline_pieces(const struct timeline *t, int64_t at, int frames,
                       struct mel_piece *out, size_t max);

/* Times of a text. [start, end) of the stream as frames of the recording: when it reaches
 * over a gap of more than TEXT_MAX_GAP, the text belongs to the stretches on that side of
 * the gap on which most of its time lies, and its times are cut there: nobody says a
 * sentence with a minute of silence in it. Rises with [start, end): of two texts that do
 * not overlap, the earlier one ends before the later one starts. */
#define TEXT_MAX_GAP 300 /* frames */
void timeline_text(const struct timeline *t, int64_t start, int64_t end,
                   int64_t *start_frame, int64_t *end_frame);

#endif
