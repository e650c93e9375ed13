/* What the verbs that work on the service's database share. */
#ifndef COMMAND_DATABASE_H
#define COMMAND_DATABASE_H

#include "base/config.h"
#include "store/store.h"

#include <jansson.h>

/* The file of an SQLite database; NULL for another one, whose URL may hold a password. */
const char *database_file(const struct config *c);

/* Open it beside a service that runs or does not. Without `creates` it must be there: who
 * finds none looks in the wrong place. EXIT_OK, or another code and it is said. */
int database_open(const struct config *c, bool creates, struct store **out);

/* Say what is wrong; EXIT_USAGE for ERR_INVALID, else EXIT_ERROR. */
int database_fail(const struct err *e);

/* Send what is logged to the service's log file, where there is one; else warnings to
 * standard error: what is done is told on the standard streams already. */
void database_log(const struct config *c, const char *role);

/* Print a value and let go of it. */
void database_print_json(json_t *o);

#endif
