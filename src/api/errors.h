/* From our errors to HTTP's. */
#ifndef API_ERRORS_H
#define API_ERRORS_H

#include "base/err.h"
#include "http/response.h"

/* The status of an enum err_code when nothing more is known: 404 for ERR_NOT_FOUND … */
int api_status(int code);

/* Answer with the sentence of `e`. What went wrong on our side (5xx) is logged; its
 * details, which may hold paths, are not shown to the caller. */
void api_error(struct http_response *r, const struct err *e);
/* The same with a status and an error_code chosen by the caller. */
void api_error_as(struct http_response *r, int status, const char *error_code,
                  const struct err *e);

#endif
