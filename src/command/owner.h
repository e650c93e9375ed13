/* Whose files these are. */
#ifndef COMMAND_OWNER_H
#define COMMAND_OWNER_H

#include "base/config.h"

/* Become the user who owns `path`, or the folder that it is to come into (the nearest one
 * above that is there), when this process is root and the owner is not: what root writes
 * into the service's folders the service could not change afterwards. EXIT_OK, or
 * EXIT_ERROR after an error was printed.
 */
int owner_become(const char *path);

/* The same for the folder that the service keeps its jobs in. */
int owner_become_of_data(const struct config *c);

#endif
