/* The options of a transcription beside model, language and task, as one table.
 *
 * From it come the keys of a job's stored options, the fields of the HTTP doors, the
 * switches of the shell and their help. Names are those that users of the reference and
 * of faster-whisper know; a dash may stand for an underscore. */
#ifndef JOB_OPTION_TABLE_H
#define JOB_OPTION_TABLE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum job_option_kind {
    OPTION_TEXT,       /* const char *; "" means NULL */
    OPTION_CHARACTERS, /* const char *; may be "" */
    OPTION_NUMBER,     /* float */
    OPTION_WHOLE,      /* int */
    OPTION_SEED,       /* uint64_t */
    OPTION_BOOLEAN,    /* bool */
    OPTION_MODE,       /* enum whisper_mode */
    /* These have code of their own: */
    OPTION_TEMPERATURES, /* a number, or a list of them */
    OPTION_TOKENS,       /* a list of whole numbers, or text "1,2,3" */
    OPTION_CLIPS,        /* a list of seconds, of {"start","end"}, or text "0,10,20" */
    OPTION_VAD,          /* an object: options whose names begin with "vad_" */
};

/* What "none" and null stand for. */
enum job_option_none {
    NONE_IS_DEFAULT, /* null: not said; the word is refused */
    NONE_IS_OFF,     /* NaN */
    NONE_IS_ENDLESS, /* infinity */
    NONE_IS_ZERO,
};

enum job_option_group {
    GROUP_DECODING,
    GROUP_JUDGEMENT,
    GROUP_WRITING,
    GROUP_TOLD,
    GROUP_WAY,
    GROUP_SPEECH,
    GROUP_LANGUAGE,
    GROUP_WORDS,
    GROUP_SUBTITLES, /* these concern srt and vtt alone, at any time */
    GROUP_COUNT
};

struct job_option {
    const char *name;
    enum job_option_kind kind;
    enum job_option_none none;
    size_t offset;    /* of the field in struct job_options */
    double low, high; /* NUMBER, WHOLE: both are allowed */
    enum job_option_group group;
    const char *value, *help; /* for --help: "N" and half a sentence */
};

/* The table, in the order of its groups; a NULL name ends it. */
const struct job_option *job_option_table(void);
const char *job_option_group_title(enum job_option_group g);

/* By its name or an alias ("initial_prompt"), with '-' or '_'; NULL: there is none. */
const struct job_option *job_option_find(const char *name);

/* What its value must be: "a whole number from 1 to 8", "true or false" … */
void job_option_expects(const struct job_option *o, struct buf *out);

#endif
