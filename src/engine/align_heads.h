/* Which heads of the decoder's cross-attention follow the speech. */
#ifndef ENGINE_ALIGN_HEADS_H
#define ENGINE_ALIGN_HEADS_H

#include "engine/session.h"

/* The heads of a model: those of a table of known models, those that its own files tell,
 * or, when neither is there, every head of the upper half of its layers, as in the
 * reference. *out is owned by the caller, ascending by layer, then head. *lag: how many
 * audio positions (20 ms) their attention comes after the sound that it belongs to.
 * ERR_NOMEM. */
int align_heads_of(const struct whisper_model *m, struct net_head **out, int *n_heads,
                   float *lag, struct err *e);

#endif
