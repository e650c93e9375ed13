/* Where transcripts go: standard output, or files in a folder. */
#ifndef COMMAND_OUTPUTS_H
#define COMMAND_OUTPUTS_H

#include "format/cues.h"

#include <limits.h>

struct outputs {
    bool wanted[FORMAT_COUNT];
    const char *folder; /* borrowed; NULL: standard output */
    bool headed;        /* several inputs: a line "==> name <==" before each text */
    bool begun;
};

/* "srt", "txt,json" or "all" into `wanted`; ERR_INVALID names what is no format. */
int outputs_parse_formats(struct outputs *o, const char *list, struct err *e);

/* Check, before any work is done, that all of it can be written: one format on standard
 * output, a folder that can be made and written to, no two inputs with one name.
 * ERR_INVALID is the caller's mistake. */
int outputs_prepare(struct outputs *o, char *const *inputs, int count, struct err *e);

/* Write one transcript in every wanted format, each file whole or not at all; a file that
 * is there already is replaced. */
int outputs_write(struct outputs *o, const char *input, const struct transcript *t,
                  const struct cue_options *subtitles, struct err *e);

#endif
