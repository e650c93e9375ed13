/* UTF-8 that may be damaged. */
#ifndef ENGINE_UTF8_H
#define ENGINE_UTF8_H

#include "base/buf.h"

/* Append the text to `out`; every maximal part of it that begins a character and does not
 * finish it, and every byte that cannot begin one, becomes U+FFFD (Unicode 15, 3.9, as in
 * the WHATWG's decoder and Python's "replace"). At most three times as long. */
void utf8_repair(struct buf *out, const char *text, size_t length);

#endif
