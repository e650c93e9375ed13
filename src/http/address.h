/* Network addresses: the client's, and lists of those that are trusted. */
#ifndef HTTP_ADDRESS_H
#define HTTP_ADDRESS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define HTTP_ADDRESS_TEXT 48

/* IPv6; an IPv4 address is kept as ::ffff:a.b.c.d. */
struct http_address {
    uint8_t bytes[16];
};

bool http_address_parse(const char *text, struct http_address *out);
/* False for a family that is neither IPv4 nor IPv6. */
bool http_address_from(const struct sockaddr *sa, struct http_address *out);
/* As people write it, IPv4 without its prefix. Returns `out`. */
const char *http_address_text(const struct http_address *a, char out[HTTP_ADDRESS_TEXT]);
bool http_address_loopback(const struct http_address *a);
/* What one client is counted by: IPv4 whole, IPv6 its first 64 bits. */
struct http_address http_address_network(const struct http_address *a);

struct http_networks {
    struct http_network {
        struct http_address address;
        int bits; /* 0 … 128 that must be equal */
    } * list;     /* owned [count] */
    size_t count, capacity;
};
/* A list separated by commas or spaces: addresses, a.b.c.d/n, the word "loopback".
 * ERR_INVALID names the entry that is none of these. `out` is empty on error. */
int http_networks_parse(struct http_networks *out, const char *text, struct err *e);
void http_networks_release(struct http_networks *n);
/* The same on the heap, for a list that is replaced while others look at it. */
int http_networks_new(struct http_networks **out, const char *text, struct err *e);
void http_networks_free(void *networks);
bool http_networks_hold(const struct http_networks *n, const struct http_address *a);

/* Who is asking: `peer`, or when that is a trusted proxy the last address of
 * X-Forwarded-For (may be NULL) that is not one. An entry that cannot be read ends the
 * search: what stands before it cannot be trusted either. */
struct http_address http_client_address(const struct http_address *peer,
                                        const char *forwarded_for,
                                        const struct http_networks *trusted);

#endif
