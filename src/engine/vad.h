/* The voice detector: how probable is it that somebody speaks?
 *
 * The network of Silero VAD, version 6.2, for 16 kHz: of every 512 samples a spectrum of
 * four short frames, four convolutions, one LSTM cell that remembers what came before,
 * and one number. docs/model.md describes it. All but the LSTM is computed for many
 * frames at once, as matrix products. */
#ifndef ENGINE_VAD_H
#define ENGINE_VAD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct pool; /* engine/threads.h */

#define VAD_SAMPLES 512 /* of one probability: 32 ms */

struct vad; /* weights, read-only: any number of threads may use it at once */

/* Read and check the ONNX file. ERR_NOT_FOUND, ERR_CORRUPT …; the sentence says what is
 * wrong, not what to do. *out is owned by the caller. */
int vad_open(struct vad **out, const char *path, struct err *e);
void vad_close(struct vad *v);

/* Probabilities that a recording has: n_samples / 512, rounded up. The last samples are
 * filled up with zeros. */
size_t vad_count(size_t n_samples);

/* probabilities[vad_count(n_samples)]. Samples that are no numbers count as 0, those
 * beyond full scale as full scale; all are multiplied by `gain` first. The result does
 * not depend on the pool, which may be NULL. `cancelled` may be NULL, and is asked every
 * minute of audio. ERR_NOMEM, ERR_CANCELLED. */
int vad_run(const struct vad *v, struct pool *pool, const float *samples,
            size_t n_samples, float gain, float *probabilities,
            bool (*cancelled)(void *arg), void *arg, struct err *e);

#endif
