/* The state of an alignment, and the way from attention to times. Private to align.c. */
#ifndef ENGINE_ALIGN_TIMES_H
#define ENGINE_ALIGN_TIMES_H

#include "engine/align.h"
#include "engine/sound.h"
#include "engine/warp.h"
#include "engine/words.h"

#define FRAMES_PER_COLUMN 2 /* mel frames of one audio position */

struct align {
    const struct whisper_model *model; /* borrowed */
    struct net *net;                   /* borrowed */
    const struct tokenizer *tokenizer; /* borrowed */
    struct net_head *heads;            /* owned [n_heads] */
    int n_heads;

    float lag; /* columns by which their attention comes after the sound */

    /* Scratch; R = n_text_ctx, C = n_audio_ctx, S = 2 R + 1 states. Memory that is never
     * touched is never taken. */
    float *seen;               /* owned [heads of a layer][R][C] */
    float *matrix;             /* owned [R][C]: the mean over the heads */
    float *line;               /* owned [2 * C] */
    float *pause;              /* owned [C]: how well a pause fits each column */
    bool *cut;                 /* owned [C + 1] */
    uint8_t *sound;            /* owned [WHISPER_WINDOW_FRAMES] */
    float *logits;             /* owned [LOGIT_ROWS][n_vocab] */
    struct warp_state *states; /* owned [S] */
    float *sum;                /* owned [2 * S] */
    unsigned char *trace;      /* owned [S * C] */
    size_t *first, *last;      /* owned [S]: columns of each state */
    size_t *state_of;          /* owned [R]: the first state of each word */
    size_t *start, *end;       /* owned [R]: frames of each word */
    int32_t *prompt;           /* owned [R]: all that the decoder is told */
    struct word_piece *pieces; /* owned [R]: the bytes of each text token */
    size_t *origin;            /* owned [R]: where each is in the request */
    float *probability;        /* owned [R]: of each */

    /* Of the window at hand. */
    size_t n_prompt; /* tokens before the first of the text */
    size_t n_text;
    size_t columns;
};

/* The frames of every word, a->start and a->end, from the attention in a->matrix, which
 * is used up. */
void align_find_times(struct align *a, const struct align_request *r,
                      const struct words *w);

#endif
