/* The --help of a command, taken apart, so that manual pages and completions are made of
 * it and cannot say anything else.
 *
 * Every --help has one form: lines "usage: …", paragraphs, and lines of an indented term,
 * two spaces and what it means, under a title that ends with a colon. */
#ifndef COMMAND_USAGE_H
#define COMMAND_USAGE_H

#include "base/err.h"
#include "command/command.h"

#include <stdbool.h>

enum usage_kind {
    USAGE_TITLE, /* term: "options", without its colon */
    USAGE_ITEM,  /* term and text */
    USAGE_TEXT,  /* text: a paragraph */
    USAGE_CODE,  /* text: lines as they are, such as an example */
};

struct usage_part {
    enum usage_kind kind;
    char *term, *text; /* owned; term may be NULL */
};

struct usage {
    char *synopsis; /* owned: lines without "usage: " and without the program's name */
    struct usage_part *parts; /* owned [count] */
    size_t count;
};

/* Run `role` with --help and take apart what it prints. */
int usage_read(struct usage *u, const struct role *role, struct err *e);
/* The same with a text; for the tests. */
int usage_parse(struct usage *u, const char *text, struct err *e);
void usage_release(struct usage *u);

/* Words that complete a command line: calls `found` for each verb below the command
 * ("ls", when `options` is false) or each option ("--json" and "-q"; takes a value or
 * does not). */
void usage_words(const struct usage *u, bool options,
                 void (*found)(void *context, const char *word, bool takes,
                               const char *text),
                 void *context);

#endif
