/* The transcript: the one model that every output format is a view of. */
#ifndef FORMAT_TRANSCRIPT_H
#define FORMAT_TRANSCRIPT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transcript_segment {
    int id;
    int64_t seek;      /* mel frames */
    double start, end; /* seconds */
    char *text;        /* owned, UTF-8, with the model's leading space */
    int32_t *tokens;   /* owned [n_tokens] */
    size_t n_tokens;
    float temperature, avg_logprob, compression_ratio, no_speech_prob;
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
};

void transcript_init(struct transcript *t);
void transcript_release(struct transcript *t);
/* Append a deep copy. 0 or ERR_NOMEM. */
int transcript_add(struct transcript *t, const struct transcript_segment *segment);

/* The text of all segments joined, trimmed. Appended to `out`. */
void transcript_text(const struct transcript *t, struct buf *out);

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

#endif
