/* Which addresses belong to the public internet.
 *
 * Whoever lets callers choose where we connect to lends them our place in the network:
 * behind the firewall, beside the database, before the cloud's metadata. So only what is
 * certain to be public unicast counts as public. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* IPv6; an IPv4 address is kept as ::ffff:a.b.c.d. */
struct net_address {
    uint8_t bytes[16];
};

/* An address written as people do, without brackets; false when it is none. */
bool net_address_parse(const char *text, struct net_address *out);
/* Address and port of a socket address; false for a family that is not IP. */
bool net_address_from(const struct sockaddr *sa, struct net_address *out, int *port);

/* Whether anyone on the internet may be there. An address that stands for an IPv4 one
 * (mapped, NAT64) is what that one is; tunnels (6to4, Teredo) are not public. */
bool net_address_public(const struct net_address *a);

/* Whether the first `bits` bits are equal. */
bool net_address_equal(const struct net_address *a, const struct net_address *b,
                       int bits);

#endif
