/* Word times: which stretch of sound each word of a window is.
 *
 * The decoder is run once more over the finished text, and the cross-attention of a few
 * heads that are known to follow the speech says which part of the window each token
 * looks at. A monotonic path through that matrix gives every token its stretch; the
 * levels of the recording then pull the edges of words to where sound begins and ends. */
#ifndef ENGINE_ALIGN_H
#define ENGINE_ALIGN_H

#include "engine/session.h"

struct align;

/* All are borrowed and must outlive it. Takes memory only where it is used. ERR_NOMEM. */
int align_open(struct align **out, const struct whisper_model *m, struct net *n,
               const struct tokenizer *t, struct err *e);
void align_close(struct align *a);

struct align_word {
    size_t from, to; /* tokens of the request, [from, to); what is not text and lies
                        between two words belongs to neither */
    double start_seconds, end_seconds; /* in the window */
    float probability;                 /* mean of its tokens' */
    char *text; /* owned; with its leading space and the punctuation around it */
};

struct align_request {
    int window; /* of the net, encoded */
    int slot;   /* of the net; it is emptied and used */
    int language;
    enum whisper_task task;
    /* The window's text. Timestamps and other special tokens may be among it: they are
     * passed over. */
    const int32_t *tokens; /* borrowed [n_tokens] */
    size_t n_tokens;
    /* Where segments end in it, ascending, the last at n_tokens; no word goes from one
     * segment into the next. NULL: all of it is one. */
    const size_t *segment_ends; /* borrowed [n_segments] */
    size_t n_segments;
    int frames; /* mel frames of the window that are recording, 1 … 3000 */
    /* Of every one of these frames, as in speech.h; NULL: edges stay where attention puts
     * them. */
    const uint8_t *levels; /* borrowed [frames] */
    /* Where the window was put together: at frame cuts[i] begins another part of the
     * recording. No word lies on both sides. Ascending, within the window. */
    const int *cuts; /* borrowed [n_cuts] */
    size_t n_cuts;
    const char *prepend, *append; /* borrowed; punctuation; NULL: the defaults */
};

/* Times of all words, in order: start <= end <= start of the next, all within the
 * recording's part of the window. The texts of a segment's words, joined, are the
 * segment's text. *words is owned by the caller (align_words_free); NULL when there is no
 * text. ERR_INVALID for more text than the decoder's context holds, ERR_NOMEM. */
int align_window(struct align *a, const struct align_request *r,
                 struct align_word **words, size_t *n_words, struct err *e);
void align_words_free(struct align_word *words, size_t n_words);

#endif
