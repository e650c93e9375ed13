/* Can that have been said? Repetitions and rates of speech, judged by the time that there
 * is for them.
 *
 * A text that repeats itself is no proof that a model went astray: people count, pray,
 * sing and rehearse. So repetition from segment to segment makes a text suspect,
 * repetition within one makes a loop likely, and only what nobody can have said in the
 * time that somebody speaks is certain. */
#ifndef ENGINE_VERDICT_H
#define ENGINE_VERDICT_H

#include "engine/segments.h"
#include "engine/tokenizer.h"

enum verdict {
    VERDICT_FINE,
    VERDICT_SUSPECT, /* it repeats itself, but there is time for it */
    VERDICT_LIKELY,  /* and does so within a segment, where a person would pause */
    VERDICT_CERTAIN, /* nobody can have said it */
};

/* The text of one window. All is borrowed. */
struct testimony {
    const struct special_tokens *special;
    const uint8_t *paces;  /* loop_paces */
    const int32_t *tokens; /* [count] */
    size_t count;
    const struct piece *pieces; /* [n_pieces] */
    size_t n_pieces;
    int frames;
    /* In how many of the first i frames somebody speaks [frames + 1]; NULL: not known. */
    const int *spoken;
    bool repetitive;         /* by its compression ratio */
    bool segment_repetitive; /* one of its pieces is, alone */
};

enum verdict verdict(const struct testimony *t);

/* Of two texts, how much of the longer one is in the other, in order: 1 for the same, 0
 * for nothing in common. Only tokens of text count. ERR_NOMEM. */
int verdict_likeness(const struct special_tokens *special, const int32_t *a, size_t n_a,
                     const int32_t *b, size_t n_b, float *likeness);

/* How much of text `a` is in text `b`, in order: 1 when all of it is, and for no text.
 * ERR_NOMEM. */
int verdict_kept(const struct special_tokens *special, const int32_t *a, size_t n_a,
                 const int32_t *b, size_t n_b, float *kept);

/* Hundredths of a second, which are mel frames, that anybody needs at least to say the
 * text among tokens [count]. */
int verdict_needed(const struct special_tokens *special, const uint8_t *paces,
                   const int32_t *tokens, size_t count);

#endif
