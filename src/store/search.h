/* What a person types into a search box, as a question for the index. */
#ifndef STORE_SEARCH_H
#define STORE_SEARCH_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Words, "phrases" and beginnings* of words that must all be there, in the syntax of
 * SQLite's FTS5. Whatever else is typed is taken for words, so that the index refuses
 * nothing. *out is the caller's to free. ERR_INVALID for a text that is too long. */
int search_expression(const char *text, char **out, struct err *e);

/* One word or phrase of it. */
struct search_part {
    const char *text; /* borrowed: without its quotes */
    size_t length;
    bool begins; /* its last word may be the beginning of one */
};

/* The same text part by part: *at is where to look, and moves on. False at the end. */
bool search_next(const char **at, struct search_part *out);
/* ERR_INVALID for a text that is too long. */
int search_check(const char *text, struct err *e);

#endif
