/* UTF-8 that may be damaged. */
#ifndef ENGINE_UTF8_H
#define ENGINE_UTF8_H

#include "base/buf.h"

#include <stdint.h>

/* Append the text to `out`; every maximal part of it that begins a character and does not
 * finish it, and every byte that cannot begin one, becomes U+FFFD (Unicode 15, 3.9, as in
 * the WHATWG's decoder and Python's "replace"). At most three times as long. */
void utf8_repair(struct buf *out, const char *text, size_t length);

/* How many of the last bytes begin a character that is not finished, 0 … 3. */
size_t utf8_unfinished(const char *text, size_t length);

/* The code point at *at, which moves behind it; U+FFFD for what utf8_repair replaces.
 * *at must be below length. */
uint32_t utf8_next(const char *text, size_t length, size_t *at);

#endif
