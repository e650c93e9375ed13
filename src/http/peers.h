/* How many connections each client address holds. Thread-safe. */
#ifndef HTTP_PEERS_H
#define HTTP_PEERS_H

#include "http/address.h"

struct http_peers;

struct http_peers *http_peers_new(void); /* NULL: out of memory */
void http_peers_free(struct http_peers *p);

/* A connection has opened or closed. IPv6 addresses of one /64 count as one client. */
void http_peers_add(struct http_peers *p, const struct http_address *a);
void http_peers_remove(struct http_peers *p, const struct http_address *a);
int http_peers_count(struct http_peers *p, const struct http_address *a);

#endif
