/* Tokens to words.
 *
 * Most scripts write spaces, and a word is what lies between two of them. Chinese,
 * Cantonese, Japanese, Thai, Lao and Burmese do not: there every character that a token
 * boundary sets free is a "word", as in the reference, but never a combining mark without
 * its letter. Characters of several tokens stay whole. Punctuation at the edge of a word
 * belongs to it when the caller's lists say so, where "(", ")" and "." stand for what is
 * their like in other scripts; punctuation inside of a word never parts it. */
#ifndef ENGINE_WORDS_H
#define ENGINE_WORDS_H

#include "engine/whisper.h"

#define WORDS_PREPEND "\"'“¿([{-"
#define WORDS_APPEND  "\"'.。,，!！?？:：”)]}、"

/* The bytes of one token: maybe part of a character. */
struct word_piece {
    const char *bytes; /* borrowed */
    size_t length;
};

/* Tokens [from, to). Of them, those of [core_from, core_to) are spoken, the others are
 * punctuation. The core may be empty. */
struct word_span {
    size_t from, core_from, core_to, to;
};

struct words {
    struct word_span *spans; /* owned [n_spans] */
    size_t n_spans, capacity;
};

/* Split the text of one segment. `language` is an index of whisper_language_code;
 * `prepend` and `append` are lists of characters, NULL for the defaults. Spans are
 * appended to *w, their tokens counted from `first`. ERR_NOMEM. */
int words_split(struct words *w, const struct word_piece *pieces, size_t count,
                size_t first, int language, const char *prepend, const char *append,
                struct err *e);
void words_release(struct words *w);

#endif
