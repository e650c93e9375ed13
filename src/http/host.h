/* What a server may be called by pages when it asks nobody who they are.
 *
 * A page of a stranger can have its own name resolve to our address (DNS rebinding); to
 * the browser we are then that page's own server, and nothing that the browser checks
 * stops it. The name gives it away, which the browser sends in Host and no page can
 * change. Names that no stranger can have are ours: addresses, names without a dot
 * (localhost, services of containers), those under localhost, local, internal and
 * home.arpa, and what the operator lists. */
#ifndef HTTP_HOST_H
#define HTTP_HOST_H

#include "http/request.h"

/* `host` as in the header, with or without a port; NULL or "" is ours. `allowed`: names
 * separated by commas or spaces, ".example.org" for all under it too, "*" for any; may be
 * NULL. */
bool http_host_is_ours(const char *host, const char *allowed);

/* Whether the request may come from a page: it has what browsers send with everything and
 * no page can take away. */
bool http_request_from_browser(const struct http_request *r);

#endif
