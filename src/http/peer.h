/* What stands behind a request on the wire: for who must not be fooled. */
#ifndef HTTP_PEER_H
#define HTTP_PEER_H

#include "http/address.h"
#include "http/request.h"

/* The other end of the connection itself, whatever X-Forwarded-For says; all zero when it
 * is unknown. */
struct http_address http_request_peer(const struct http_request *r);

/* A header that must be there once: 1 with *value (borrowed) set, else how often it was
 * sent. A proxy that adds its line behind a client's own would be believed otherwise. */
int http_request_header_once(const struct http_request *r, const char *name,
                             const char **value);

#endif
