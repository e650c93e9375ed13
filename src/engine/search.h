/* From encoded windows to the tokens that are said in them.
 *
 * Any number of windows are decoded side by side: at every step all their sequences pass
 * through the decoder together, so that its weights are read once. At temperature 0 the
 * best sequence is searched for with a beam (a beam of 1 is greedy); above it several
 * sequences are drawn by chance and the best is kept. What comes out for a window does
 * not depend on which others are beside it. */
#ifndef ENGINE_SEARCH_H
#define ENGINE_SEARCH_H

#include "engine/batcher.h"
#include "engine/rules.h"
#include "engine/session.h"

struct search;

/* Window w of the net owns its slots [w * SEARCH_SLOTS, (w + 1) * SEARCH_SLOTS). */
#define SEARCH_SLOTS WHISPER_MAX_SEQUENCES

/* All are borrowed and must outlive the search. `net` has max_windows windows and
 * SEARCH_SLOTS slots for each. */
int search_open(struct search **out, const struct whisper_model *m, struct net *net,
                const struct tokenizer *t, int max_windows, struct err *e);
void search_close(struct search *s);

/* What holds for a whole recording: the parameters of decoding. */
struct search_manner {
    const struct whisper_params *params; /* borrowed, with what they point to */
    struct rules rules;
};
void search_manner(const struct search *s, const struct whisper_params *p,
                   struct search_manner *out);
/* Of the tasks that have none. */
void search_set_params(struct search *s, const struct whisper_params *p);

/* Through which several threads share the steps. Borrowed. A seat is a window. */
struct batcher *search_batcher(const struct search *s);

/* How long anybody needs for each token (engine/loop.h). Borrowed. */
const uint8_t *search_paces(const struct search *s);

/* One window that is being decoded. A call names a window once. */
struct search_task {
    int window;            /* in: of the net; it is encoded */
    const int32_t *prompt; /* in: borrowed [n_prompt] */
    size_t n_prompt;
    size_t sot;     /* in: prompt[sot] is start-of-transcript */
    size_t n_given; /* in: so many at the end of the prompt begin the text (a prefix):
                       they are the first of `tokens` */
    float temperature;
    uint64_t seek;    /* in: seed, seek and attempt fix what is drawn by chance */
    uint32_t attempt; /* in */
    float seconds;    /* in: more speech than this cannot be in the window; 0: 30 s */
    const int32_t
        *draft; /* in: borrowed [n_draft], or NULL: what it may well say. It makes a
                   greedy search faster, and changes nothing in its text */
    size_t n_draft;
    const struct search_manner *manner; /* in: borrowed; NULL: search_set_params' */

    float no_speech_prob;  /* out of search_begin: that nobody speaks */
    const int32_t *tokens; /* out of search_run: borrowed [count] until the next
                              search_run that has this window; without end-of-text */
    const float *logprobs; /* out: borrowed [count], of each token among those that were
                              allowed; 0 for given ones */
    size_t count;
    float avg_logprob; /* out: sum over the tokens and end-of-text that were not given,
                          over their number and one */
    bool looping;      /* out: decoding was stopped early, for the tokens end in a
                          repetition that nobody can have spoken (engine/loop.h) */
};

/* All that follows is called with the baton, and gives it away while it computes. */

/* Read the prompts in their windows, in one pass where they fit. As with all that
 * follows: ERR_CANCELLED when the member (or NULL) is stopped. */
int search_begin(struct search *s, struct search_task *tasks, int count, struct member *m,
                 struct err *e);

/* Decode from the prompts on; any number of times after search_begin, for any of the
 * windows, beside whatever others decode. A window that is done costs nothing more.
 */
int search_run(struct search *s, struct search_task *tasks, int count, struct member *m,
               struct err *e);

/* Probability of every language of the model, [n_languages], in an encoded window. What
 * search_begin read there is forgotten. */
int search_languages(struct search *s, int window, struct member *m, float *probabilities,
                     struct err *e);

#endif
