/* The OpenAI door: what their clients send and expect under /v1/. */
#ifndef API_OPENAI_H
#define API_OPENAI_H

#include "api/intake.h"
#include "format/transcript.h"

enum openai_format {
    OPENAI_JSON,
    OPENAI_TEXT,
    OPENAI_SRT,
    OPENAI_VERBOSE,
    OPENAI_VTT,
    OPENAI_FORMAT_COUNT
};

/* r->state of a transcription. */
struct openai_request {
    struct intake in;
    enum openai_format format;
    bool has_model;
    bool translate;
    bool granular;        /* granularities were asked for … */
    bool words, segments; /* … these */
    bool stream;
    bool logprobs;         /* of every token */
    bool shaped;           /* an option of subtitles was named */
    struct buf keywords;   /* "Zoë, Ångström" */
    char language_hint[8]; /* the one of languages[]; "" when there are none or more */
    int n_languages;
};

/* ---- routes ---- */
extern const struct http_form_handler openai_transcription_form, openai_translation_form;
void openai_transcribe(struct http_request *r); /* openai.c */
void openai_models(struct http_request *r);     /* openai_models.c */
void openai_model(struct http_request *r);

/* For struct http_server_options: the shape of errors under /v1/. */
http_error_shape openai_error_shape(const char *path); /* openai_error.c */

/* ---- between the files ---- */

/* One field of the form; answers and returns a negative code when it will not do. */
int openai_field(struct http_request *r, const char *name, const char *value);
/* What can be judged only when all fields are there; as openai_field. */
int openai_fields_end(struct http_request *r);

/* Which of our models is meant by a name of theirs: "" for the default one. Answers 404
 * and returns a negative code when there is none of that name. */
int openai_find_model(struct http_request *r, const char *asked, char name[64]);

/* Answer with the transcript in the form that was asked for, or with why there is none.
 */
void openai_answer(struct http_request *r, const struct job *job);

/* {"type":"duration","seconds":12}: whole seconds, begun ones count. */
json_t *openai_usage(double seconds);

/* Of every token of a transcript that keeps it, {"token","bytes","logprob"}. A new
 * reference; NULL when memory is out. */
json_t *openai_logprobs(const struct transcript *t); /* openai_logprobs.c */

/* The four keys of an error; `param` may be NULL. A new reference. */
json_t *openai_error(int status, const char *code, const char *param,
                     const char *sentence);
/* Answer with an error about a parameter. What fails once fails again: the client is told
 * not to retry. */
void openai_refuse(struct http_request *r, int status, const char *code,
                   const char *param, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
