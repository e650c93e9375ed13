/* JSON as text. */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* What json_dumps gives, but never a text of which a part is missing: that function (of
 * jansson 2.14) does not look whether there was memory for a name, and goes on behind it.
 * The caller frees it; NULL when there is no memory, or no value. */
char *json_text(const json_t *value, size_t flags);

/* Read JSON; the caller lets go of *out, which is NULL after an error. ERR_NOMEM when
 * memory was lacking, of which the library makes a text that is no JSON, or a value of
 * which a part is missing. ERR_INVALID: *why says what is wrong. */
int json_read(json_t **out, const char *text, size_t length, size_t flags,
              json_error_t *why);

#pragma GCC poison json_dumps

#endif
