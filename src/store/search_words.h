/* A text as the words that are searched for: those that SQLite's index has of it (case,
 * accents and scripts without spaces: see sqlite_words.c), so that one question finds the
 * same in every database. */
#ifndef STORE_SEARCH_WORDS_H
#define STORE_SEARCH_WORDS_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

struct search_words;

/* No word is longer; of one that is, this is the beginning. Whole characters. */
#define WORDS_MAX_BYTES 256

/* Thread-safe. */
int search_words_open(struct search_words **out, struct err *e);
void search_words_close(struct search_words *w);

/* Called with each word in order: letters, digits and marks, in UTF-8. Negative: stop
 * with this error. */
typedef int (*search_words_fn)(void *arg, const char *word, size_t length);
int search_words_split(struct search_words *w, const char *text, size_t length,
                       search_words_fn fn, void *arg, struct err *e);

#endif
