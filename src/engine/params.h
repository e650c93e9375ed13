/* The parameters of a transcription: their defaults and their limits. */
#ifndef ENGINE_PARAMS_H
#define ENGINE_PARAMS_H

#include "engine/model.h"

/* Whether they are within their limits, and the model can do what is asked of it.
 * ERR_INVALID with a sentence. *language is its index in the reference's order, or -1: to
 * be detected. */
int params_check(const struct whisper_params *p, const struct whisper_config *c,
                 int *language, struct err *e);

#endif
