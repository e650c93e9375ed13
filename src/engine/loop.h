/* Repetitions at the end of a text, and whether anybody can have spoken them.
 *
 * A model that has lost its way says the same again and again until there is no more
 * room. So does a person who says the same again and again; but a person needs time for
 * it. What is repeated more often than the time allows has not been said. */
#ifndef ENGINE_LOOP_H
#define ENGINE_LOOP_H

#include "engine/tokenizer.h"

#define LOOP_MAX_PERIOD 32

/* How long anybody needs for each token at least: hundredths of a second, owned
 * [n_vocab]. By its letters, so that it holds for every script, however the vocabulary
 * cuts it up. The caller frees it; NULL when memory is out. */
uint8_t *loop_paces(const struct tokenizer *t, int32_t n_vocab);

struct loop {
    size_t period; /* tokens of text that are repeated, 1 … LOOP_MAX_PERIOD; 0: nothing */
    size_t repeats;       /* how often they are said in full, at least 2 */
    size_t first;         /* where in the tokens it begins; it goes on to their end */
    float seconds;        /* that the window has for it, by the timestamps around it */
    float needed_seconds; /* that anybody needs for it */
};

/* The repetition that tokens [count] of a window of `seconds` end in. Timestamps between
 * do not matter; the last repetition may be unfinished. Of all periods the one that
 * covers most, the shortest of equals. */
struct loop loop_find(const struct special_tokens *special, const uint8_t *paces,
                      const int32_t *tokens, size_t count, float seconds);

/* Beyond doubt: nobody can have said it in that time. */
bool loop_is_impossible(const struct loop *l);

#endif
