/* The media type of a recording, by its first bytes. */
#ifndef MEDIA_KIND_H
#define MEDIA_KIND_H

#include <stddef.h>
#include <stdint.h>

#define MEDIA_KIND_BYTES 64 /* as many as it looks at */

/* One of a short list that browsers play ("audio/mpeg" …), else
 * "application/octet-stream". What a name or a caller says counts for nothing. */
const char *media_kind(const uint8_t *head, size_t length);

#endif
