/* What may be said next, and which token is chosen: pure functions over one row of
 * logits.
 *
 * The grammar of timestamps: a window begins with one; they come in pairs (end of a
 * segment, start of the next) except before end-of-text; they never go back; and when all
 * of them together are more probable than the best of the other tokens, one of them must
 * come. Suppressed tokens never come. As in the reference's logit filters. */
#ifndef ENGINE_RULES_H
#define ENGINE_RULES_H

#include "engine/tokenizer.h"

struct rules {
    struct special_tokens special;
    int32_t n_vocab;
    const int32_t *suppressed; /* borrowed [n_suppressed]: these never come */
    size_t n_suppressed;
    int32_t blank;       /* this and end-of-text never come first; -1: they may */
    bool timestamps;     /* false: the grammar is off, anything may come */
    int32_t max_initial; /* the first timestamp is at most this, counted from <|0.00|>;
                            -1: any */
};

/* Ids that may come: [text_begin, text_end) are ordinary and special tokens,
 * [stamp_begin, stamp_end) timestamps; either may be empty. Tokens suppressed one by one
 * lie within and have minus infinity as their logit. */
struct allowed {
    int32_t text_begin, text_end;
    int32_t stamp_begin, stamp_end;
};

/* What may follow `sampled` [count], the tokens since the prompt. `logits` [n_vocab] are
 * those after the last of them; suppressed ones are overwritten by minus infinity. */
struct allowed rules_allow(const struct rules *r, const int32_t *sampled, size_t count,
                           float *logits);

struct choice {
    int32_t token;
    float logprob; /* natural logarithm, among the allowed, at temperature 1 */
};

/* The most probable token. Where no token has a finite logit: `fallback`, -infinity. */
struct choice rules_best(const float *logits, const struct allowed *a, int32_t fallback);

/* A token by chance, at a temperature above 0. `random` is uniform in [0, 1). */
struct choice rules_sample(const float *logits, const struct allowed *a,
                           float temperature, double random, int32_t fallback);

/* The softmax of logits [count]: the probability of one, or of all into out [count]. */
float rules_probability(const float *logits, int32_t count, int32_t id);
void rules_softmax(const float *logits, int32_t count, float *out);

/* Index of the candidate with the highest log probability per token, the first of equals.
 */
size_t rules_rank(const double *sums, const size_t *counts, size_t n);

/* A generator of our own, so that a seed gives the same text on every machine. */
struct rng {
    uint64_t state;
};
/* From a seed and what is to be told apart: window, attempt, candidate. */
void rng_init(struct rng *g, uint64_t seed, uint64_t window, uint32_t attempt,
              uint32_t candidate);
double rng_uniform(struct rng *g); /* [0, 1) */

#endif
