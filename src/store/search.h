/* What a person types into a search box, as a question for the index. */
#ifndef STORE_SEARCH_H
#define STORE_SEARCH_H

#include "base/err.h"

/* Words, "phrases" and beginnings* of words that must all be there, in the syntax of
 * SQLite's FTS5. Whatever else is typed is taken for words, so that the index refuses
 * nothing. *out is the caller's to free. ERR_INVALID for a text that is too long. */
int search_expression(const char *text, char **out, struct err *e);

#endif
