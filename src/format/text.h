/* Text on its way into a file: always valid UTF-8, trimmed, on one line. */
#ifndef FORMAT_TEXT_H
#define FORMAT_TEXT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* The code point at *text, which moves behind it; U+FFFD, one byte on, for what is not
 * UTF-8. Not to be called at the end of the string. */
uint32_t text_next(const char **text);
void text_put(struct buf *out, uint32_t code_point);

/* White space as Unicode has it: what trimming takes away. */
bool text_is_space(uint32_t code_point);

/* `text` without white space at its ends: returns its start and sets *length. */
const char *text_trimmed(const char *text, size_t *length);

/* `text` trimmed, as one line: line breaks and tabs become spaces, other control
 * characters go. Appended to `out`; false when nothing is left of it. */
bool text_flat(struct buf *out, const char *text);

/* The same for a subtitle: "-->" becomes "->", so that no player takes it for a time;
 * with `markup`, & and < are escaped as WebVTT wants it. */
bool text_cue(struct buf *out, const char *text, bool markup);

/* Milliseconds of a time in seconds: at least 0, rounded half to even. */
int64_t text_milliseconds(double seconds);

/* "01:02:03,004"; without hours where there are none, unless `hours`. */
void text_time(struct buf *out, int64_t milliseconds, bool hours, char decimal_marker);

/* A number as the shortest decimal that reads back as the same double or float, with a
 * point in every locale; "null" for NaN and infinities, which JSON does not have. */
void text_double(struct buf *out, double value);
void text_float(struct buf *out, float value);

#endif
