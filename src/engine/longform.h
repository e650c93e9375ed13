/* The way through a recording: what the files that do its parts share.
 *
 * longform.c   begins and ends; gaps, checkpoints, cancellation
 * sequential.c each window begins where the last finished text ended
 * batched.c    windows cut at pauses, several listened to at once
 * hear.c       windows to accounts: all that is done about a window before it is written
 * listen.c     windows to tokens: features, encoder, the fallback ladder
 * context.c    windows heard side by side are heard again, told what was said before
 * vote.c       languages
 * timing.c     when each word is spoken
 * mend.c       loops are broken
 * guard.c      speech for which there is no text is heard again
 * thin.c       and speech for which there is too little
 * write.c      accounts to segments and notes, in the times of the recording */
#ifndef ENGINE_LONGFORM_H
#define ENGINE_LONGFORM_H

#include "engine/align.h"
#include "engine/batcher.h"
#include "engine/fallback.h"
#include "engine/prompt.h"
#include "engine/report.h"
#include "engine/search.h"
#include "engine/segments.h"
#include "engine/session.h"
#include "engine/timeline.h"
#include "engine/verdict.h"

/* What was heard in a window, for the window behind it. */
struct said {
    struct window window;
    int language;
    int32_t *tokens; /* owned [count] */
    size_t count;    /* 0: nothing that is sure enough to build on */
};

struct crew; /* batched.c */

/* One call of whisper_transcribe; in the batched way, each listener has a copy with seats
 * of its own. All is borrowed but `texts`. */
struct run {
    struct whisper_session *s;
    const struct whisper_params *p;
    const struct whisper_callbacks *c; /* or NULL */
    struct whisper_result *r;
    const struct timeline *t;
    struct batcher *batcher; /* whose baton is held */
    struct member *member;
    int seats[WHISPER_MAX_BATCH]; /* windows of the net that are ours */
    int n_seats;
    size_t next_gap;           /* the first stretch whose gap before it was not told of */
    int64_t checkpoint;        /* the last that was reported */
    bool is_batched;           /* windows do not wait for each other's text */
    struct crew *crew;         /* of the batched way; NULL: nobody listens beside */
    size_t turn;               /* which of the crew's windows it is at */
    struct prompt_texts texts; /* of the parameters */
    struct search_manner manner;
};

/* What was heard in a window: of several attempts, the one that was kept. */
struct heard {
    struct window window;
    bool is_void;        /* there is no sound in it: it was not listened to */
    bool silent;         /* the model says that nobody speaks */
    int language;        /* in: that of the window, or -1: that of the recording */
    const int32_t *said; /* in: what was said before, borrowed [n_said]; or NULL */
    size_t n_said;
    const int32_t *draft; /* in: what it may well say, borrowed [n_draft]; or NULL */
    size_t n_draft;
    struct attempt attempt;
    int32_t *tokens; /* owned [count] */
    float *logprobs; /* owned [count] */
    size_t count;
    enum verdict verdict;     /* of the attempt that was kept */
    bool mended;              /* an earlier attempt was a loop, this one is none */
    struct align_word *words; /* owned [n_words]; none unless word_timestamps */
    size_t n_words;
    struct piece *pieces; /* owned [n_pieces]: its segments */
    size_t n_pieces;
};

void heard_release(struct heard *h);

/* All that is known of a window in the end. */
struct account {
    struct window window;
    struct heard *parts; /* owned [n_parts]; windows of their own within the window */
    size_t n_parts, parts_capacity;
    struct whisper_note *notes; /* owned [n_notes]: not yet in the report */
    size_t n_notes, notes_capacity;
    int advance; /* frames of the window that are done, 1 … */
};

void account_release(struct account *a);

/* ---- longform.c ------------------------------------------------------------------- */

/* ERR_CANCELLED when the caller wants no more. */
int longform_check(const struct run *w, struct err *e);

/* Keep `left` of the run's seats, and give the others back. */
void longform_free_seats(struct run *w, int left);

/* Everything in the stream before `at` is transcribed: tell of the gaps that lie before
 * it, and of the checkpoint. ERR_NOMEM. */
int longform_checkpoint(struct run *w, int64_t at, struct err *e);

/* Find what of a recording is to be heard, and take seats; several when windows are to
 * vote on its language. */
int longform_begin(struct run *w, const float *samples, size_t n_samples, bool votes,
                   struct err *e);

/* From now on each window has a language of its own: other stretches share a window than
 * before, so nothing of the stream that was known holds on. ERR_NOMEM. */
int longform_split(struct run *w, struct err *e);

/* The longest that a window may be. */
int longform_window_frames(const struct run *w);
/* The same for windows that are cut at pauses; what fits into a whole window is not cut.
 */
int longform_packed_frames(const struct run *w);

/* ---- vote.c ----------------------------------------------------------------------- */

/* Which language is the recording in, and is it in one? It is told; unknown it stays only
 * where nothing sounds. `known`: the language that an earlier attempt has found, which
 * stays, or -1. */
int vote_recording(struct run *w, int known, struct err *e);

/* Which language is an encoded window in? That of the recording, unless it is sure of
 * another. */
int vote_window(struct run *w, int index, const struct window *window, int *language,
                struct err *e);

/* The language of the recording is known. */
void longform_tell_language(struct run *w, int language, float probability);

/* ---- listen.c --------------------------------------------------------------------- */

/* Encode windows [n], at most as many as the run has seats, and say where: index[i] is
 * the net's window, or -1 when there is no sound in it, or the run was stopped. What is
 * encoded already stays. */
void listen_encode(struct run *w, const struct window *windows, int n, int *index);

/* An encoded window: the most probable language, and the probabilities of all
 * [whisper_language_count()]. */
int listen_language(struct run *w, int index, int *language, float *probabilities,
                    struct err *e);

/* Compression ratio of the trimmed text of tokens [count]. ERR_NOMEM. */
int listen_ratio(const struct run *w, const int32_t *tokens, size_t count, float *ratio);

/* Listen to the windows of heard[n], at most as many as the run has seats, each with the
 * first `n_temperatures` of the fallback ladder. What is heard in one does not depend on
 * the others. The caller has set window, language and what was said before, all else is
 * 0. The pieces are not cut yet. */
int listen_texts(struct run *w, struct heard *heard, int n, int n_temperatures,
                 struct err *e);

/* When their words are spoken, of those whose words are wanted. */
int listen_words(struct run *w, struct heard *heard, int n, struct err *e);

/* Both, with the whole ladder. */
int listen_windows(struct run *w, struct heard *heard, int n, struct err *e);

/* Is nothing about it in doubt: it was heard, is text, and is neither improbable nor
 * repetitive? */
bool listen_is_sure(const struct run *w, const struct heard *h);

/* Frames that anybody needs at least to say the text among tokens [count]. */
int listen_needed(const struct run *w, const int32_t *tokens, size_t count);

/* ---- context.c ------------------------------------------------------------------- */

/* A window was heard for itself: hear it again with what was said before it, and keep
 * what is better. */
int context_window(struct run *w, struct heard *h, const struct said *before,
                   struct err *e);

/* What was heard in a window for itself, for the one behind it; the caller's to free.
 * ERR_NOMEM. */
int context_said(const struct run *w, const struct heard *h, struct said *out,
                 struct err *e);

/* A recording is gone on with behind `window`: hear what the one behind would be told of
 * it. */
int context_recall(struct run *w, const struct window *window, struct said *out,
                   struct err *e);

/* ---- timing.c --------------------------------------------------------------------- */

/* Is there a gap of the recording within [from, to) of the stream that is too long for a
 * text? */
bool timing_has_gap(const struct run *w, int64_t from, int64_t to);

/* Are its words wanted: by the caller, or because one of its segments reaches over a gap
 * of the recording over which no sentence goes? */
bool timing_wanted(const struct run *w, const struct heard *h);

/* The words of what was heard in the net's window `index`, which is still encoded. */
int timing_align(struct run *w, struct heard *h, int index, struct err *e);

/* Words stay near the segments that the pieces say they are in. */
void timing_bound(const struct run *w, struct heard *h);

/* Where words [from, to) begin and end in the recording; *end_seconds stays when that
 * would be before the beginning. */
void timing_edges(const struct run *w, const struct heard *h, size_t from, size_t to,
                  double *start_seconds, double *end_seconds);

/* Words [from, to) of what was heard, in the times of the recording and within those of
 * the segment, into it. ERR_NOMEM. */
int timing_words(const struct run *w, const struct heard *h, size_t from, size_t to,
                 struct whisper_segment *segment, struct err *e);

/* Of the words [from, to), so many belong together: between the last of them and the next
 * lies a gap of the recording over which no sentence goes. */
size_t timing_together(const struct run *w, const struct heard *h, size_t from,
                       size_t to);

/* ---- guard.c ---------------------------------------------------------------------- */

/* Does somebody speak in a frame of the stream? False when the network was not asked. */
bool guard_speaks(const struct run *w, int64_t at);

/* Frames of the stream within [from, to) in which somebody speaks, by the network; 0 when
 * it was not asked. */
int64_t guard_speech(const struct run *w, int64_t from, int64_t to);

/* The accounts [n] have their pieces: hear again what they leave out, once. What is left
 * out at the end of a window that goes on is left for the next one. */
int guard_windows(struct run *w, struct account *accounts, int n, bool goes_on,
                  struct err *e);

/* ---- thin.c ---------------------------------------------------------------------- */

/* The accounts [n] have their pieces: hear those again that say much less than there is
 * time for, and keep what says more. */
int thin_windows(struct run *w, struct account *accounts, int n, struct err *e);

/* ---- mend.c ----------------------------------------------------------------------- */

/* A shorter window is not worth to be cut: it has only the ladder. */
#define MEND_LEAST_FRAMES 600

/* Judge the tokens [count] of a window; `repetitive` by their compression ratio. */
int mend_judge(const struct run *w, const struct window *window, const int32_t *tokens,
               size_t count, bool repetitive, enum verdict *out, struct err *e);

/* An account of one part, its window: where its text cannot be right, mend it. Then it
 * has several parts, one behind the other, which fill the window. */
int mend_window(struct run *w, struct account *a, struct err *e);

/* ---- hear.c ----------------------------------------------------------------------- */

/* Hear a window. When it `goes_on`, it may end within a word: then what is unfinished is
 * left for the next window, which begins behind `advance`. The account is the caller's to
 * release, also when it fails. */
int hear_window(struct run *w, const struct window *window, bool goes_on,
                struct account *account, struct err *e);

/* Cut what was heard into its pieces. *advance: its frames that are done; all of them,
 * unless it goes on. ERR_NOMEM. */
int hear_cut(const struct run *w, struct heard *h, bool goes_on, int *advance,
             struct err *e);

/* Append a part, or a note in frames of the stream, to an account. ERR_NOMEM. */
struct heard *account_part(struct account *a, const struct window *window, int language,
                           struct err *e);
int account_note(const struct run *w, struct account *a, enum whisper_note_kind kind,
                 int64_t from, int64_t to, float value, struct err *e);

/* ---- write.c ---------------------------------------------------------------------- */

/* Append the segments and the notes of an account to the result. */
int write_account(struct run *w, struct account *a, struct err *e);

/* ---- ways ------------------------------------------------------------------------- */

/* From `at` to the end of the stream. */
int sequential_hear(struct run *w, int64_t at, struct err *e);
/* The window that the sequential way hears at `at`. */
struct window sequential_window(const struct run *w, int64_t at);
int batched_hear(struct run *w, int64_t at, struct err *e);

/* A window of a crew was heard for itself: let the one behind it know, and wait for what
 * was said in the one before it; *before is borrowed, and empty where there is none. */
int batched_exchange(struct run *w, const struct heard *h, const struct said **before,
                     struct err *e);

#endif
