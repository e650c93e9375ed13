/* The guard: where we may connect to when somebody else chose the address.
 *
 * A URL is judged before it is asked for, and every address that its name leads to is
 * judged again when the socket to it is made. So a name that answers differently the
 * second time gains nothing. */
#ifndef NET_GUARD_H
#define NET_GUARD_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

#define NET_URL_MAX 2048 /* bytes of a URL that is looked at */

struct net_guard;

/* `allow` lists what else is allowed beyond the public internet, separated by commas or
 * spaces: host names, addresses, networks (10.0.0.0/8), the word loopback; each with a
 * port behind a colon, or for every port. NULL or "": nothing. ERR_INVALID names the
 * entry that is none of these. */
int net_guard_new(struct net_guard **out, const char *allow, struct err *e);
void net_guard_free(struct net_guard *g);
/* The host name that an entry of the list is, "" for a network or an address; NULL behind
 * the last. Borrowed. */
const char *net_guard_name(const struct net_guard *g, size_t index);

/* Judge a URL by itself, without asking anybody for its address: http or https, a host,
 * no user or password, a port that is usual for the web or allowed. ERR_INVALID when it
 * is no such URL, ERR_DENIED when it leads where we do not go. */
int net_guard_url(const struct net_guard *g, const char *url, struct err *e);

/* Whether a connection to this address may be made for this host name. */
bool net_guard_admits(const struct net_guard *g, const char *host,
                      const struct sockaddr *sa);

/* Of a URL what may be shown and logged, as "https://example.org": neither the path nor
 * the query, in which there are often secrets. "" when it is no URL. Returns `out`. */
const char *net_url_origin(const char *url, char *out, size_t size);
/* The last part of the path, decoded, as a name for people; "" when there is none.
 * Returns `out`. */
const char *net_url_filename(const char *url, char *out, size_t size);

#endif
