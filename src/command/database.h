/* What the verbs that work on the service's database share. */
#ifndef COMMAND_DATABASE_H
#define COMMAND_DATABASE_H

#include "base/config.h"
#include "store/store.h"

#include <jansson.h>

/* The file of an SQLite database; NULL for another one, whose URL may hold a password. */
const char *database_file(const struct config *c);

/* A verb, from its options on. */
struct database_verb {
    const char *role; /* in the log */
    bool as_owner;    /* all of it as the user that owns the data */
    bool interrupts;  /* SIGINT and SIGTERM raise cli_interrupted */
    /* What is asked for, and the words behind the options. An exit code. */
    int (*run)(struct config *c, const void *wanted, char **words, int count);
};

/* Load the settings, see to the log, run the verb and finish its output: an exit code. */
int database_run(const struct database_verb *v, const void *wanted, char **words,
                 int count);

/* Open it beside a service that runs or does not. Without `creates` it must be there: who
 * finds none looks in the wrong place. EXIT_OK, or another code and it is said. */
int database_open(const struct config *c, bool creates, struct store **out);

/* Say what is wrong; EXIT_USAGE for ERR_INVALID, else EXIT_ERROR. */
int database_fail(const struct err *e);

/* Print a value and let go of it. */
void database_print_json(json_t *o);

#endif
