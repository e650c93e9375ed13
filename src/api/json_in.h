/* A body that is one small object of JSON. */
#ifndef API_JSON_IN_H
#define API_JSON_IN_H

#include "http/form.h"

#include <jansson.h>

/* The callbacks of a route that takes one (http_body_handler): the bytes are collected in
 * r->state. */
int64_t json_in_max(struct http_request *r);
int json_in_begin(struct http_request *r);
int json_in_data(struct http_request *r, const void *bytes, size_t length);
void json_in_done(struct http_request *r);

/* In the handler: the object, to be released; an empty body is an empty object. NULL when
 * it is none, which has been answered then. */
json_t *json_in_take(struct http_request *r);

/* Members of it: ERR_INVALID names one that is of another type. A missing or null member
 * leaves *out as it is; texts are borrowed. */
int json_in_text(const json_t *o, const char *name, const char **out, struct err *e);
int json_in_integer(const json_t *o, const char *name, int64_t *out, struct err *e);
/* ERR_INVALID names a member that is not among `names` (NULL ends them). */
int json_in_only(const json_t *o, const char *const *names, struct err *e);

#endif
