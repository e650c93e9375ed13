/* Pieces of JSON, written such that every number reads back as the same bits. Private to
 * this layer. */
#ifndef FORMAT_JSON_OUT_H
#define FORMAT_JSON_OUT_H

#include "base/buf.h"
#include "format/quality.h"

void json_string_out(struct buf *out, const char *text);
void json_text_member(struct buf *out, const char *key, const char *text);
/* These three begin with ", ". */
void json_more_text(struct buf *out, const char *key, const char *text);
void json_more_float(struct buf *out, const char *key, float value);
void json_more_double(struct buf *out, const char *key, double value);

struct transcript;
/* The "quality" object of a transcript; its warnings are made anew from the rest and not
 * read back. */
void json_quality_out(struct buf *out, const struct transcript *t);

#endif
