/* The transcript: the one model that every output format is a view of. */
#ifndef FORMAT_TRANSCRIPT_H
#define FORMAT_TRANSCRIPT_H

#include "base/buf.h"
#include "base/err.h"
#include "format/quality.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transcript_word {
    char *text;        /* owned, UTF-8, with its leading space and punctuation */
    double start, end; /* seconds */
    float probability;
};

/* A token that is text, and how sure the model was of it. */
struct transcript_token {
    char *hex; /* owned; two digits for each of its bytes, which may be a part of a
                  character */
    float logprob;
};

struct transcript_segment {
    int id;
    int64_t seek;      /* mel frames */
    double start, end; /* seconds */
    char *text;        /* owned, UTF-8, with the model's leading space */
    int32_t *tokens;   /* owned [n_tokens] */
    size_t n_tokens;
    float temperature, avg_logprob, compression_ratio, no_speech_prob;
    char language[16];             /* code, where every window has its own; else "" */
    struct transcript_word *words; /* owned [n_words]; NULL: not asked for */
    size_t n_words;
    struct transcript_token *logprobs; /* owned [n_logprobs]; NULL: not asked for */
    size_t n_logprobs;
};

struct transcript {
    char task[16]; /* "transcribe", "translate" */
    char model[64];
    char language[16];                   /* code; "" when unknown */
    char language_name[32];              /* "english" */
    double language_probability;         /* of float precision */
    double duration;                     /* seconds of audio */
    struct transcript_segment *segments; /* owned [n_segments] */
    size_t n_segments, capacity;
    char warning[256]; /* "" or a sentence: the input was truncated … */
    struct quality quality;
};

void transcript_init(struct transcript *t);
void transcript_release(struct transcript *t);
void transcript_segment_release(struct transcript_segment *s);
/* Append a deep copy. 0 or ERR_NOMEM. */
int transcript_add(struct transcript *t, const struct transcript_segment *segment);

/* The text of all segments joined, not trimmed. Appended to `out`. */
void transcript_untrimmed(const struct transcript *t, struct buf *out);
/* The same, trimmed. */
void transcript_text(const struct transcript *t, struct buf *out);

/* What a person should be warned of: whole sentences with times, the most important
 * first, made from the transcript alone. `tell` is called for each. */
void transcript_warnings(const struct transcript *t,
                         void (*tell)(void *arg, const char *sentence), void *arg);
/* The same as an array of JSON strings, appended to `out`. */
void transcript_warnings_json(const struct transcript *t, struct buf *out);

/* The "quality" object of the JSON, by itself; nothing is appended when there is none. */
void transcript_quality_json(const struct transcript *t, struct buf *out);

/* JSON (FORMAT_JSON) and back, loss-free: what the store and the worker's pipe carry. `t`
 * is filled anew, as if it held nothing. ERR_CORRUPT names what is wrong; on error
 * nothing needs releasing. */
int transcript_parse(struct transcript *t, const char *json, size_t length,
                     struct err *e);

enum format { FORMAT_TXT, FORMAT_SRT, FORMAT_VTT, FORMAT_TSV, FORMAT_JSON, FORMAT_COUNT };

/* "txt", "srt", "vtt", "tsv", "json"; false when unknown. */
bool format_parse(const char *name, enum format *out);
const char *format_extension(enum format f);    /* "txt" … */
const char *format_content_type(enum format f); /* "text/plain; charset=utf-8" … */

/* Write the whole transcript in a format. Appended to `out`; 0 or ERR_NOMEM. */
int format_write(enum format f, const struct transcript *t, struct buf *out);
/* The same with subtitles to order (format/cues.h). */
struct cue_options;
int format_write_as(enum format f, const struct transcript *t,
                    const struct cue_options *o, struct buf *out);

#endif
