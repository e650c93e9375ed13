/* What the commands share: errors, signals, the progress bar. */
#ifndef COMMAND_CLI_H
#define COMMAND_CLI_H

#include "base/config.h"
#include "base/err.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

/* "whisper-transcriber: <sentence>" on standard error. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same of a command line that is wrong, with a hint at --help. Returns EXIT_USAGE. */
int cli_usage(const char *sentence);

/* What getopt_long did not like, as a sentence: `code` is '?' or ':' (the short options
 * begin with ":"). Returns EXIT_USAGE. */
int cli_bad_option(int code, char **argv);

/* Load the settings; says what is wrong with them. EXIT_OK or EXIT_USAGE. */
int cli_load_config(struct config *c);

/* Set one setting from an option. EXIT_OK or EXIT_USAGE. */
int cli_set(struct config *c, const char *name, const char *value);

/* From now on SIGINT and SIGTERM only raise a flag, the first time; the second one ends
 * the process. cli_interrupted has the shape of the callbacks. */
void cli_catch_signals(void);
bool cli_interrupted(void *unused);

/* Flush standard output: EXIT_OK, or EXIT_ERROR when not all of it could be written. */
int cli_finish_output(void);

/* A line on standard error that is drawn again and again; nothing if that is no
 * terminal. */
struct cli_bar {
    bool terminal;
    bool drawn;
    double drawn_at; /* monotonic seconds */
};
void cli_bar_init(struct cli_bar *b);
/* `label [=====>    ] 42% detail`; at most ten times a second, except when `now`. */
void cli_bar_draw(struct cli_bar *b, const char *label, double fraction,
                  const char *detail, bool now);
/* Take the line away, before anything else is printed. */
void cli_bar_clear(struct cli_bar *b);

#endif
