/* The way through a recording: what the files that do its parts share.
 *
 * longform.c   begins and ends; gaps, checkpoints, cancellation
 * sequential.c each window begins where the last finished text ended
 * batched.c    windows cut at pauses, several at once
 * listen.c     windows to tokens: features, encoder, the fallback ladder
 * write.c      tokens to segments, in the times of the recording */
#ifndef ENGINE_LONGFORM_H
#define ENGINE_LONGFORM_H

#include "engine/fallback.h"
#include "engine/prompt.h"
#include "engine/report.h"
#include "engine/segments.h"
#include "engine/session.h"
#include "engine/timeline.h"

/* One call of whisper_transcribe. All is borrowed but `texts`. */
struct run {
    struct whisper_session *s;
    const struct whisper_params *p;
    const struct whisper_callbacks *c; /* or NULL */
    struct whisper_result *r;
    const struct timeline *t;
    /* The windows whose encodings the net holds; those of `features` too. */
    struct window encoded[WHISPER_MAX_BATCH];
    int n_encoded;
    size_t next_gap;           /* the first stretch whose gap before it was not told of */
    int64_t checkpoint;        /* the last that was reported */
    bool is_batched;           /* windows do not wait for each other's text */
    struct prompt_texts texts; /* of the parameters */
};

/* What was heard in a window: of several attempts, the one that was kept. */
struct heard {
    struct window window;
    bool is_void; /* there is no sound in it: it was not listened to */
    bool silent;  /* the model says that nobody speaks */
    int language;
    struct attempt attempt;
    int32_t *tokens; /* owned [count] */
    float *logprobs; /* owned [count] */
    size_t count;
    struct piece *pieces; /* owned [n_pieces]: its segments */
    size_t n_pieces;
};

void heard_release(struct heard *h);

/* ---- longform.c ------------------------------------------------------------------- */

/* ERR_CANCELLED when the caller wants no more. */
int run_check(const struct run *w, struct err *e);

/* Everything in the stream before `at` is transcribed: tell of the gaps that lie before
 * it, and of the checkpoint. ERR_NOMEM. */
int run_checkpoint(struct run *w, int64_t at, struct err *e);

/* Detect the language of the recording in an encoded window, unless it is known. */
int run_settle_language(struct run *w, int index, struct err *e);

/* ---- listen.c --------------------------------------------------------------------- */

/* Encode windows [n], at most the session's max_windows, and say where: index[i] is the
 * net's window, or -1 when there is no sound in it. What is encoded already stays. */
void listen_encode(struct run *w, const struct window *windows, int n, int *index);

/* An encoded window: the most probable language, and the probabilities of all
 * [whisper_language_count()]. */
int listen_language(struct run *w, int index, int *language, float *probabilities,
                    struct err *e);

/* Hear windows [n], at most the session's max_windows, each with the fallback ladder.
 * What is heard in one does not depend on the others. heard[n] is owned by the caller,
 * also when it fails; the pieces are not cut yet. */
int run_listen(struct run *w, const struct window *windows, int n, struct heard *heard,
               struct err *e);

/* ---- write.c ---------------------------------------------------------------------- */

/* Append the segments of a window. */
int write_heard(struct run *w, const struct heard *h, struct err *e);

/* ---- ways ------------------------------------------------------------------------- */

/* From `at` to the end of the stream. */
int sequential(struct run *w, int64_t at, struct err *e);
int batched(struct run *w, int64_t at, struct err *e);

#endif
