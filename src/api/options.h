/* What a caller asks of a transcription, in the fields of a form or in the query. */
#ifndef API_OPTIONS_H
#define API_OPTIONS_H

#include "format/cues.h"
#include "http/params.h"

#include <jansson.h>

/* Names and values as they came; a later one of the same name replaces an earlier. */
struct api_options {
    char *model, *language, *task; /* owned; NULL: not said */
    json_t *rest;                  /* owned: the object of job/options.h, or NULL */
    int priority, retain_days;     /* JOB_PRIORITY_…, JOB_RETAIN_… */
};
void api_options_release(struct api_options *o);

/* Take one field; an empty value and an unknown name change nothing. ERR_INVALID when the
 * value is not of the option's type. */
int api_options_set(struct api_options *o, const char *name, const char *value,
                    struct err *e);
int api_options_set_all(struct api_options *o, const struct http_params *p,
                        struct err *e);

/* How subtitles are to be made: as this query says, else the job's options (JSON). */
int api_subtitle_options(const char *job_options, const struct http_params *query,
                         struct cue_options *out, struct err *e);

/* A copy of `value` in the place of an owned text, or of NULL. */
int api_set_text(char **field, const char *value, struct err *e);

#endif
