/* What the search keeps while it decodes: shared by search.c, which reads prompts and
 * begins, steps.c, draft.c, and beam.c, which ranks. */
#ifndef ENGINE_SEARCH_STATE_H
#define ENGINE_SEARCH_STATE_H

#include "engine/batcher.h"
#include "engine/loop.h"
#include "engine/search.h"

/* The best that may follow a sequence: enough for a beam to go on when one of them is
 * end-of-text. */
#define SEARCH_CHOICES (WHISPER_MAX_SEQUENCES + 1)

struct sequence {
    int32_t *tokens; /* borrowed [n_text_ctx]: given, then chosen; without end-of-text */
    float *logprobs; /* borrowed [n_text_ctx] */
    size_t count;
    double sum; /* log probabilities of what was chosen, end-of-text among it */
    struct rng rng;
    float *logits; /* borrowed [n_rows]: the rows after its last token and those that are
                    * guessed behind it (draft.c), which stand behind `count` */
    int n_rows;
    struct choice choices[SEARCH_CHOICES]; /* best first; of several rows: one of each */
    int n_choices;
};

/* One window. Sequence i has the window's slot i: it holds the prompt, and the sequence's
 * tokens after those given as far as the slot is long. That stays so when a sequence has
 * ended, until its slot is taken. */
struct hearing {
    int window;
    const struct search_task *task;     /* borrowed */
    const struct search_manner *manner; /* borrowed */
    struct member *member;              /* borrowed or NULL */
    int runner;                         /* the seat whose listener waits for it */
    bool active;                        /* it takes part in the steps */
    size_t chosen;                      /* tokens that were chosen: its steps */
    int rc;                             /* it was ended by an error of a step */
    struct err why;                     /* which */
    struct sequence sequences[SEARCH_SLOTS];
    float *prompt_logits; /* borrowed [n_vocab]: the row after the prompt */
    size_t n_prompt, n_given;
    bool has_prompt[SEARCH_SLOTS]; /* the slot holds the prompt */

    int width;              /* sequences side by side, when all go on */
    size_t room;            /* tokens that may be chosen */
    int live[SEARCH_SLOTS]; /* sequences that go on; of a beam: best first */
    int n_live;
    int n_ended, most_ended; /* of a beam: sequences that were set aside */

    bool drafted; /* the task's draft is used */
    size_t at;    /* what it says next */
    int reach;    /* rows that are read of it at once, at most */

    struct sequence best; /* of all that were offered */
    bool has_best, best_loops;
    double best_score;
    float length_penalty;
};

/* A row of logits that was computed in this step. */
struct row {
    struct hearing *hearing;
    struct sequence *sequence;
};

struct search {
    struct net *net;           /* borrowed */
    const struct tokenizer *t; /* borrowed */
    struct special_tokens special;
    int n_vocab, n_text_ctx, max_windows;
    int32_t *suppressed; /* owned: markers, then symbols that are not speech */
    size_t n_non_speech, n_suppressed;
    int32_t blank;

    uint8_t *paces; /* owned [n_vocab]: loop.h */

    struct batcher *batcher;  /* owned */
    struct search_manner own; /* of search_set_params */
    const bool *stepping;     /* [max_windows]: in the step at work; NULL: none is */

    struct hearing *hearings; /* owned [max_windows] */
    int32_t *tokens;          /* owned: of all sequences */
    float *logprobs;          /* owned: of all sequences */
    void *memory;             /* owned mapping of the logits */
    size_t memory_bytes;
    float *prompt_logits;     /* [max_windows][n_vocab] */
    float *logits;            /* [max_windows * SEARCH_SLOTS][n_vocab] */
    struct net_input *inputs; /* owned [max_windows * SEARCH_SLOTS] */
    struct row *rows;         /* owned [max_windows * SEARCH_SLOTS] */
};

/* ---- search.c --------------------------------------------------------------------- */

/* The first slot of a window. */
static inline int search_slot(int window)
{
    return window * SEARCH_SLOTS;
}

/* A task takes part in the steps from now on; `runner` is the seat whose listener waits
 * for it. */
void search_begin_hearing(struct search *s, const struct search_task *t, int runner,
                          struct member *member);

void search_append(struct sequence *q, struct choice c);

/* A sequence goes no further: it is copied when it is the best until now; any is better
 * than one that loops. `sum` is that of its log probabilities. */
void search_offer(struct hearing *h, const struct sequence *q, double sum, bool loops);

/* ---- draft.c ---------------------------------------------------------------------- */

void draft_begin(struct hearing *h);
/* How many rows to read: that of the last token of q, and of those of the draft behind
 * it, which are put behind its tokens. */
int draft_feed(const struct hearing *h, struct sequence *q);
/* A token was chosen. */
void draft_follow(struct hearing *h, int32_t token);

/* ---- beam.c ----------------------------------------------------------------------- */

/* The next step of a beam: the sequences that go on have had their rows looked at. */
void beam_advance(struct search *s, struct hearing *h);

#endif
