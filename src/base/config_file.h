/* The settings file: lines NAME=value, as systemd's EnvironmentFile= reads them, because
 * it is given to systemd as well.
 *
 * What systemd, a shell and a tired person could read differently is refused with its
 * line, and not guessed: so whatever is accepted here means the same everywhere. */
#ifndef BASE_CONFIG_FILE_H
#define BASE_CONFIG_FILE_H

#include "base/err.h"

#include <stddef.h>

#define CONFIG_FILE_MAX (256 * 1024)

struct config_line {
    char *name, *value; /* owned; a name is letters, digits and '_' */
    int line;           /* from 1 */
};

struct config_file {
    struct config_line *lines; /* owned [count] */
    size_t count, capacity;
};

/* ERR_INVALID says which line and why. On error nothing needs releasing. */
int config_file_parse(struct config_file *f, const char *text, size_t length,
                      struct err *e);
/* The same with what is in the file `path`. */
int config_file_read(struct config_file *f, const char *path, struct err *e);
void config_file_release(struct config_file *f);

/* The line of a name, or NULL. */
const struct config_line *config_file_find(const struct config_file *f, const char *name);

#endif
