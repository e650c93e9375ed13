/* The options of job/option_table.h as switches of the command line.
 *
 * `--beam-size 5` and, as users of the reference write it, `--beam_size 5`. What is true
 * or false is said by `--vad-filter`, `--no-vad-filter`, `--vad-filter=false` and
 * `--vad_filter False`; a file that is named "true" is ./true there. */
#ifndef COMMAND_SWITCHES_H
#define COMMAND_SWITCHES_H

#include "job/options.h"

#include <getopt.h>
#include <stdio.h>

#define SWITCHES_FROM 1000 /* getopt_long's values of ours are from here on */

struct switches {
    struct option *list; /* owned; ends with zeros */
    char *names;         /* owned: what the list's names are in */
};

/* `others` [count] and all of ours, for getopt_long. 0 or ERR_NOMEM. */
int switches_init(struct switches *s, const struct option *others, size_t count);
void switches_release(struct switches *s);

/* Put what getopt_long found (`value` from SWITCHES_FROM on, optarg) into the object of
 * job/options.h. Says what is wrong with it. EXIT_OK or EXIT_USAGE. */
int switches_take(struct json_t **options, int value, char **argv);

/* The groups of the table, with defaults. */
void switches_help(FILE *out);

#endif
