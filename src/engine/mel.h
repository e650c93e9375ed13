/* Log-mel features, window by window.
 *
 * STFT with a periodic Hann window of 400 samples, hop 160, centred with reflection;
 * power; mel filters; log10 clamped at 1e-10; clamped at 8 below the loudest value;
 * (x + 4) / 4. The reference appends 30 s of silence; so do we.
 *
 * The loudest value is the whole recording's in the reference, which then hears a soft
 * voice worse because of a loud one elsewhere. The models were trained on windows by
 * themselves: mel_gather takes the loudest value of the window. In a recording of one
 * window there is no difference. */
#ifndef ENGINE_MEL_H
#define ENGINE_MEL_H

#include "engine/model.h"

struct mel;  /* tables and scratch */
struct pool; /* engine/threads.h */

/* `pool` and the model are borrowed. */
int mel_open(struct mel **out, const struct whisper_model *m, struct pool *pool,
             struct err *e);
void mel_close(struct mel *f);

/* Begin a recording: finds the loudest value, in one pass. The samples are borrowed until
 * the next mel_begin. NaN and infinities count as 0. */
int mel_begin(struct mel *f, const float *samples, size_t n_samples, struct err *e);

/* Frames of the recording itself, without the appended silence: n_samples / 160. */
int64_t mel_frames(const struct mel *f);

/* Frames [first, first + WHISPER_WINDOW_FRAMES) into out [3000][n_mels] (time outermost,
 * channels innermost: the layout that the convolution reads). Frames past the recording
 * are those of silence. Equal to the reference's over the whole recording. */
void mel_window(struct mel *f, int64_t first, float *out);

/* A part of the recording: frames [first, first + frames). */
struct mel_piece {
    int64_t first;
    int frames;
};

/* The frames of the pieces [n] one behind the other into out [3000][n_mels]: nothing of
 * what is left out between them sounds at a joint. Clamped 8 below the loudest value of
 * these pieces. All pieces have at most 3000 frames together; the rest of `out` is 0.
 * False when nothing sounds: all of it is more than 80 dB below the loudest of the
 * recording. */
bool mel_gather(struct mel *f, const struct mel_piece *pieces, size_t n, float *out);

#endif
