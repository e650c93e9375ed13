/* File names in headers, both ways: what a part of a form says of itself, and what a
 * download is to be called. A name from outside is only ever shown, never opened. */
#ifndef HTTP_DISPOSITION_H
#define HTTP_DISPOSITION_H

#include "base/buf.h"

#include <stdbool.h>

/* Append `attachment; filename="…"; filename*=UTF-8''…` (RFC 6266, RFC 8187) for a UTF-8
 * name: an ASCII form for old clients, then the exact one. */
void http_disposition_attachment(struct buf *out, const char *name);

/* The value of a parameter of a header value such as `form-data; name="file"`, appended
 * to `out` as UTF-8. Quoted strings may hold \" and \\; the browsers' %22, %0D and %0A
 * are undone. "filename*" wants the extended form of RFC 8187 in UTF-8. False when it is
 * not there or malformed. */
bool http_disposition_param(const char *header, const char *param, struct buf *out);

/* What to keep of a file name that a client sent: the last component after '/' or '\',
 * control characters as '_', at most 255 bytes cut at a character, the ending kept.
 * Appended. */
void http_display_name(struct buf *out, const char *name);

#endif
