/* From an encoded window to the tokens that are said in it.
 *
 * At temperature 0 the most probable token is taken at each step; above it, several
 * sequences are drawn by chance side by side, in one batch, and the best is kept. Each
 * sequence is a candidate with a decoder slot of its own; a beam would be a third way to
 * extend the same candidates. */
#ifndef ENGINE_SEARCH_H
#define ENGINE_SEARCH_H

#include "engine/rules.h"
#include "engine/session.h"

#define SEARCH_CANDIDATES WHISPER_MAX_SEQUENCES

struct search;

/* All are borrowed and must outlive the search. `net` has SEARCH_CANDIDATES slots. */
int search_open(struct search **out, const struct whisper_model *m, struct net *net,
                const struct tokenizer *t, struct err *e);
void search_close(struct search *s);

/* What holds for a whole recording: suppression and timestamps. */
void search_set_rules(struct search *s, const struct whisper_params *p);

/* Read the prompt [count] in encoded window 0. prompt[sot] is start-of-transcript: the
 * probability of silence is asked there. */
int search_begin(struct search *s, const int32_t *prompt, size_t count, size_t sot,
                 float *no_speech_prob, struct err *e);

struct search_options {
    float temperature;
    int best_of;           /* candidates at a temperature above 0 */
    uint64_t seed, window; /* the same three give the same tokens */
    uint32_t attempt;
    const struct whisper_callbacks *c; /* borrowed; only `cancelled` is used */
};

struct search_result {
    const int32_t *tokens; /* borrowed until the next call [count], without end-of-text */
    size_t count;
    float avg_logprob; /* sum over the tokens and end-of-text, over count + 1 */
};

/* Decode from the prompt on; any number of times after search_begin. ERR_CANCELLED. */
int search_run(struct search *s, const struct search_options *o,
               struct search_result *out, struct err *e);

/* Probability of every language of the model, [n_languages], in encoded window 0. */
int search_languages(struct search *s, float *probabilities, struct err *e);

#endif
