/* JSON as text. */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* What json_dumps gives, but never a text of which a part is missing: that function (of
 * jansson 2.14) does not look whether there was memory for a name, and goes on behind it.
 * The caller frees it; NULL when there is no memory, or no value. */
char *json_text(const json_t *value, size_t flags);

#pragma GCC poison json_dumps

#endif
