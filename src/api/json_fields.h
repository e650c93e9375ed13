/* The members of a small object of JSON that came from outside. */
#ifndef API_JSON_FIELDS_H
#define API_JSON_FIELDS_H

#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

/* ERR_INVALID names a member that is of another type. A missing or null member leaves
 * *out as it is; texts are borrowed. */
int json_field_text(const json_t *o, const char *name, const char **out, struct err *e);
int json_field_integer(const json_t *o, const char *name, int64_t *out, struct err *e);

/* ERR_INVALID names a member that is not among `names` (NULL ends them). */
int json_fields_only(const json_t *o, const char *const *names, struct err *e);

#endif
