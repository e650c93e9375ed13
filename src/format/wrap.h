/* Text into lines: where a line may be broken, how wide it is, where it is best broken.
 *
 * Breaks are those of UAX #14 (so no line begins with a closing mark or ends with an
 * opening one), but in scripts that put spaces between words only at spaces: a word is
 * never divided. Widths are columns: 2 for wide characters, 0 for marks that combine. */
#ifndef FORMAT_WRAP_H
#define FORMAT_WRAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a break after an atom divides: JOINED: perhaps a word of Japanese or Chinese. */
enum atom_end { ATOM_JOINED, ATOM_PLAIN, ATOM_CLAUSE, ATOM_SENTENCE };

/* A piece of the text that no line break divides. */
struct atom {
    size_t from, to; /* bytes of the text, without the spaces around it */
    int width;       /* columns */
    bool spaced;     /* a space is before it, unless it begins a line */
    enum atom_end end;
    size_t first, last;       /* its characters that are no spaces, counted in the text */
    int64_t start_ms, end_ms; /* for the caller */
};

struct atoms {
    struct atom *list; /* owned [count] */
    size_t count, capacity;
    size_t characters; /* of the text, that are no spaces */
};
void atoms_release(struct atoms *a);

struct wrap_limits {
    int width; /* columns of a line */
    int lines; /* of a block */
    int words; /* of a line; 0: any number */
};

/* Divide UTF-8 text on one line. What is wider than a line stays whole if it is a word
 * that fits into a block's lines taken together; else, and in scripts without spaces
 * between words, it is cut between characters (grapheme clusters). `a` is empty or holds
 * what is to be forgotten. 0 or ERR_NOMEM. */
int wrap_split(const char *text, const struct wrap_limits *limits, struct atoms *a);

/* How many atoms from `a` on, of `count`, fit into one block; at least 1. */
size_t wrap_fit(const struct atom *a, size_t count, const struct wrap_limits *limits);

/* Break `count` atoms that fit into as few lines as can be, of even length and after
 * clauses where possible: breaks[i] says whether a line begins with atom i. 0 or
 * ERR_NOMEM. */
int wrap_lines(const struct atom *a, size_t count, const struct wrap_limits *limits,
               bool *breaks);

#endif
