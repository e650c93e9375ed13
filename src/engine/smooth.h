/* Factors that make an encoder's inputs fit for 8 bits.
 *
 * A few inputs of a matrix are much larger than the others, always the same ones. One
 * scale for a row of them all leaves the others only a few of its 255 numbers. So every
 * input is divided by a factor of its own, and its column of the matrix multiplied by it,
 * which changes nothing but where the rounding falls: factors are powers of two. What
 * divides is there already: gain and bias of the norm before, the rows that make the
 * attention's values, and, behind the GELU, struct weight's `after`.
 *
 * How large the inputs are is measured: the model, packed without factors, hears a sound
 * that is made up here, half a minute of it. Which inputs are large hardly depends on
 * what is heard. */
#ifndef ENGINE_SMOOTH_H
#define ENGINE_SMOOTH_H

#include "engine/model_plan.h"

enum smooth_input {
    SMOOTH_ATTN, /* of query, key and value */
    SMOOTH_OUT,  /* of what follows the attention */
    SMOOTH_UP,
    SMOOTH_DOWN, /* four times as wide as the others, therefore the last */
};

struct smooth;

/* Measure a model of 8 bits that was packed without factors. */
int smooth_measure(struct smooth **out, const struct whisper_model *m, struct err *e);
void smooth_free(struct smooth *s);

/* Factors [4 * state], or [state], of an encoder layer; [state] of the decoder's keys and
 * values of what was heard. */
const float *smooth_factors(const struct smooth *s, int layer, enum smooth_input input);
const float *smooth_heard(const struct smooth *s);

/* What is to be done with a part of the plan: its columns are multiplied, its rows (a
 * vector's elements) divided by that; NULL: nothing. */
void smooth_part(const struct smooth *s, const struct model_plan *p, int part,
                 const float **columns, const float **rows);

/* The factors of n inputs of these greatest magnitudes: about the square root of what
 * each is of the usual one, so that inputs and weights each take half of the difference.
 */
void smooth_choose(const float *most, int n, float *factors);

#endif
