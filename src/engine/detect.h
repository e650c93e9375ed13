/* The voice detector over a whole recording, made not to miss anybody.
 *
 * The network was made for sound of the usual loudness; 40 dB below that it is nearly
 * deaf, though the models are not. So a soft recording is turned up first, and what is
 * left without speech is turned up by its own loudness and heard a second time: somebody
 * far away beside somebody near. Noise and music that are turned up stay what they are
 * (docs/model.md has the numbers). */
#ifndef ENGINE_DETECT_H
#define ENGINE_DETECT_H

#include "engine/speech.h"

/* Fill probabilities and spans. Levels and total_frames must be there. ERR_NOMEM,
 * ERR_CANCELLED. */
int detect_speech(struct speech *s, const struct vad *vad, struct pool *pool,
                  const float *samples, size_t n_samples,
                  const struct whisper_vad_options *o, bool (*cancelled)(void *arg),
                  void *arg, struct err *e);

#endif
