/* What is decided when only the head of a request is there. */
#ifndef HTTP_ADMIT_H
#define HTTP_ADMIT_H

#include "http/request.h"

/* Framing that two programs could read differently (RFC 9112, 6.3), NUL bytes, transfer
 * and content codings that we do not speak. Fills r->content_length and *chunked. Answers
 * and returns a negative code when the request is refused. */
int http_admit_framing(struct http_request *r, bool *chunked);

/* A page of another site must not act in a visitor's name: a request that changes
 * something, or a WebSocket, comes from our own pages or from no page at all. */
int http_admit_origin(struct http_request *r);

/* Whether `origin` ("http://host:port") names the host that `host` ("host:port") does. */
bool http_same_origin(const char *origin, const char *host);

/* A request id fit for logs: 1 to 64 letters, digits and "-_.". */
bool http_request_id_valid(const char *id);

#endif
