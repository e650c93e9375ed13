/* The listening socket. */
#ifndef HTTP_LISTEN_H
#define HTTP_LISTEN_H

#include "base/err.h"

#include <stdbool.h>

/* Resolve, bind and listen; *port and *loopback say what came of it. Returns the
 * descriptor, which the caller closes. ERR_EXISTS when the port is taken, ERR_DENIED when
 * it may not be used, ERR_INVALID when the host is not an address of this machine. */
int http_listen(const char *host, int port, int *bound_port, bool *loopback,
                struct err *e);

/* The same for one that listens already and that somebody else holds, too (socket
 * activation): its descriptor, or ERR_INVALID when it is not such a socket. */
int http_listen_given(int fd, int *bound_port, bool *loopback, struct err *e);

#endif
