/* What a caller may ask of a transcription beside model, language and task: a JSON object
 * whose keys are in job/option_table.h.
 *
 *     {"prompt": "Zoë", "beam_size": 5, "temperature": [0, 0.4],
 *      "vad_parameters": {"threshold": 0.4}, "clip_timestamps": "0,10,20"}
 *
 * Unknown keys and wrong types are refused, so that a misspelt option is not ignored. */
#ifndef JOB_OPTIONS_H
#define JOB_OPTIONS_H

#include "engine/whisper.h"
#include "format/cues.h"
#include "job/option_table.h"

#define OPTIONS_MAX_BYTES 16384

/* A text that says by which door a job came. It changes nothing in the transcription, and
 * callers cannot set it: it is not in the table. */
#define JOB_OPTION_SOURCE "source"
/* true: the transcript keeps how sure the model was of each token. Not in the table
 * either: only OpenAI's door has a form to tell it in. */
#define JOB_OPTION_LOGPROBS "token_logprobs"

struct json_t; /* jansson's */

struct job_options {
    struct whisper_params params; /* borrows what is below */
    struct cue_options subtitles; /* highlight_words asks for word_timestamps too */
    float temperature_increment;  /* steps of the ladder; 0: no fallback */
    struct json_t *values;        /* owned: the texts are in it */
    int32_t *tokens;              /* owned */
    struct whisper_clip *clips;   /* owned */
};

/* Parse over the defaults. `json` NULL or "" means "{}". ERR_INVALID and ERR_TOO_LARGE
 * name the option and what it may be. Release `out` on success. */
int job_options_parse(struct job_options *out, const char *json, struct err *e);
void job_options_release(struct job_options *o);

/* Put an option whose value is a text, as it comes from a form or a command line, into
 * *object (owned; made when it is NULL), with its type and its name in the table.
 * ERR_INVALID says what it may be. */
int job_options_put(struct json_t **object, const struct job_option *option,
                    const char *text, struct err *e);

/* The option's default for people: "5", "none", "on". Appended to `out`, nothing when
 * there is none. */
void job_option_default(const struct job_option *o, struct buf *out);

#endif
