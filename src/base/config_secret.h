/* Secrets that stand in a file of their own: NAME_FILE, or a credential of systemd. */
#ifndef BASE_CONFIG_SECRET_H
#define BASE_CONFIG_SECRET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_SECRET_MAX 4096

/* What the file `path` holds, without the end of its one line, for the caller to free.
 * *open_to_others says whether everybody may read it. ERR_INVALID when it is empty, when
 * there is more than one line in it, or a NUL. Messages name the file and not what is in
 * it. */
int config_secret_read(const char *path, char **out, bool *open_to_others, struct err *e);

/* The credential `name` in $CREDENTIALS_DIRECTORY, as a path. False when there is none.
 */
bool config_credential(const char *name, char *path, size_t size);

#endif
