/* How the token embedding becomes 8 bits.
 *
 * Columns of it that are large in every row alike would take most of the numbers that a
 * row has, and what tells one token from another would be rounded coarsely: it made two
 * thirds of what 8 bits cost the decoder of tiny. So what the rows have in common, the
 * mean of each column, is taken out; then each column is multiplied by a factor, a power
 * of two, that makes its greatest about as large as those of the others. The factor's
 * inverse is in the last norm, the mean's product with the input is added to all logits
 * of a row. */
#ifndef ENGINE_PACK_TOKENS_H
#define ENGINE_PACK_TOKENS_H

#include "engine/model_source.h"

struct token_columns {
    float *common;  /* owned [state]: the mean of each column, times its factor */
    float *factors; /* owned [state] */
};

/* Of a complete source. ERR_CORRUPT where something is not finite. */
int token_columns_find(const struct model_source *s, struct token_columns *out,
                       struct err *e);
void token_columns_release(struct token_columns *t);

/* row[state] as it is to be rounded. */
void token_columns_apply(const struct token_columns *t, float *row, size_t state);

/* Powers of two that make n columns of these greatest magnitudes alike. */
void token_columns_choose(const float *most, size_t n, float *factors);

#endif
