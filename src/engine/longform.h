/* The way through a recording: what the files that do its parts share.
 *
 * longform.c   begins and ends; gaps, checkpoints, cancellation
 * sequential.c each window begins where the last finished text ended
 * listen.c     windows to tokens: features, encoder, the fallback ladder
 * write.c      tokens to segments, in the times of the recording */
#ifndef ENGINE_LONGFORM_H
#define ENGINE_LONGFORM_H

#include "engine/fallback.h"
#include "engine/prompt.h"
#include "engine/report.h"
#include "engine/session.h"

/* One call of whisper_transcribe. All is borrowed but `texts`. */
struct run {
    struct whisper_session *s;
    const struct whisper_params *p;
    const struct whisper_callbacks *c; /* or NULL */
    struct whisper_result *r;
    const struct timeline *t;
    int64_t encoded_at;        /* the window that net holds; -1: none */
    size_t next_gap;           /* the first stretch whose gap before it was not told of */
    int64_t checkpoint;        /* the last that was reported */
    struct prompt_texts texts; /* of the parameters */
};

/* A part of the stream that is heard at once: all is within one part of it that has no
 * break inside. */
struct window {
    int64_t at; /* in the stream */
    int frames; /* 1 … WHISPER_WINDOW_FRAMES */
};

/* What was heard in it: of several attempts, the one that was kept. */
struct heard {
    struct attempt attempt;
    const int32_t *tokens; /* borrowed from the session [count] */
    size_t count;
    bool silent; /* nobody speaks */
};

/* ---- longform.c ------------------------------------------------------------------- */

/* ERR_CANCELLED when the caller wants no more. */
int run_check(const struct run *w, struct err *e);

/* Everything in the stream before `at` is transcribed: tell of the gaps that lie before
 * it, and of the checkpoint. ERR_NOMEM. */
int run_checkpoint(struct run *w, int64_t at, struct err *e);

/* Detect the language of the recording in the window whose features are at hand, unless
 * it is known. */
int run_settle_language(struct run *w, const struct window *window, struct err *e);

/* ---- listen.c --------------------------------------------------------------------- */

/* Take the features of a window. False: there is nothing in it. */
bool listen_take(struct run *w, const struct window *window);

/* The window's features at hand: the most probable language, and the probabilities of all
 * [whisper_language_count()]. */
int listen_language(struct run *w, const struct window *window, int *language,
                    float *probabilities, struct err *e);

/* Hear the window whose features are at hand, with the fallback ladder. */
int run_listen(struct run *w, const struct window *window, struct heard *h,
               struct err *e);

/* ---- write.c ---------------------------------------------------------------------- */

/* Append the segments of a window, cut as in segments.h. */
int write_pieces(struct run *w, const struct window *window, const struct heard *h,
                 const struct piece *pieces, size_t n, struct err *e);

/* ---- ways ------------------------------------------------------------------------- */

/* From `at` to the end of the stream. */
int sequential(struct run *w, int64_t at, struct err *e);

#endif
