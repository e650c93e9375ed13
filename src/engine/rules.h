/* What may be said next, and which token is chosen: pure functions over one row of
 * logits.
 *
 * The grammar of timestamps: a window begins with one; they come in pairs (end of a
 * segment, start of the next) except before end-of-text; they never go back; and when all
 * of them together are more probable than the best of the other tokens, one of them must
 * come. Suppressed tokens never come. As in the reference's logit filters.
 *
 * Two more, off by default, look at what was said, which is the text without its
 * timestamps: these have to come twice. */
#ifndef ENGINE_RULES_H
#define ENGINE_RULES_H

#include "engine/tokenizer.h"

struct rules {
    struct special_tokens special;
    int32_t n_vocab;
    const int32_t *suppressed; /* borrowed [n_suppressed]: these never come */
    size_t n_suppressed;
    const int32_t *unwanted; /* borrowed [n_unwanted]: nor these, which a user named */
    size_t n_unwanted;
    int32_t blank;       /* this and end-of-text never come first; -1: they may */
    bool timestamps;     /* false: the grammar is off, and none comes */
    int32_t max_initial; /* the first timestamp is at most this, counted from <|0.00|>;
                            -1: any */
    float repetition_penalty; /* logits of what was said are divided by it when they are
                                 positive, multiplied when negative; 1: off */
    int no_repeat_ngram;      /* no so many tokens of text come twice; 0: off */
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

/* The `most` most probable tokens, best first, of equals the lower id first. Returns how
 * many there are: fewer where fewer have a finite logit. */
int rules_top(const float *logits, const struct allowed *a, int most, struct choice *out);

/* A token by chance, at a temperature above 0. `random` is uniform in [0, 1). */
struct choice rules_sample(const float *logits, const struct allowed *a,
                           float temperature, double random, int32_t fallback);

/* The softmax of logits [count]: the probability of one, or of all into out [count]. */
float rules_probability(const float *logits, int32_t count, int32_t id);
void rules_softmax(const float *logits, int32_t count, float *out);

/* What sequences are ranked by: the sum of log probabilities over the number of tokens,
 * without end-of-text, to the power of the penalty. */
double rules_score(double sum, size_t count, float length_penalty);

/* A generator of our own, so that a seed gives the same text on every machine. */
struct rng {
    uint64_t state;
};
/* From a seed and what is to be told apart: window, attempt, candidate. */
void rng_init(struct rng *g, uint64_t seed, uint64_t window, uint32_t attempt,
              uint32_t candidate);
double rng_uniform(struct rng *g); /* [0, 1) */

#endif
