/* What a caller may ask of a transcription beside model, language and task: a JSON
 * object.
 *
 *     prompt                       text before the recording (names, spelling)
 *     temperature                  0 … 1: where the fallback ladder begins
 *     condition_on_previous_text   boolean
 *     compression_ratio_threshold  number; 0: off
 *     log_prob_threshold           number
 *     no_speech_threshold          number
 *     word_timestamps              false (true: ERR_UNSUPPORTED)
 *
 * Unknown keys and wrong types are refused, so that a misspelt option is not ignored. */
#ifndef JOB_OPTIONS_H
#define JOB_OPTIONS_H

#include "engine/whisper.h"

#define OPTIONS_MAX_BYTES 16384

struct job_options {
    struct whisper_params params; /* borrows the prompt below */
    char *prompt;                 /* owned or NULL */
};

/* Parse over the defaults. `json` NULL or "" means "{}". ERR_INVALID, ERR_UNSUPPORTED,
 * ERR_TOO_LARGE name the option. Release `out` on success. */
int job_options_parse(struct job_options *out, const char *json, struct err *e);
void job_options_release(struct job_options *o);

#endif
