/* What the doors that take a recording refuse, in the same words at each. */
#ifndef API_REFUSALS_H
#define API_REFUSALS_H

#include "base/err.h"
#include "http/request.h"

/* All answer in r->response, r->app being the struct api, and return a negative code. */

/* A model that is not here, with those that are: `status`; 503 when there is none. */
int api_refuse_model(struct http_request *r, int status, const struct err *e);
/* What is wrong with the file, or with our storage: of that a caller learns no details.
 */
int api_refuse_file(struct http_request *r, const struct err *e);
int api_out_of_memory(struct http_request *r);
/* Asked by the head, before the body is sent: 0 when there is room for what it announces.
 */
int api_refuse_full(struct http_request *r);

#endif
