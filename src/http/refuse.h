/* Saying no while the client is still sending. */
#ifndef HTTP_REFUSE_H
#define HTTP_REFUSE_H

#include "http/response.h"

/* Write the answer to the socket and end our side; never blocks. The caller must read,
 * for a short while, what the client has already sent: closing at once would reset the
 * connection, and the client would see that instead of the answer. libmicrohttpd can do
 * neither in the middle of a body. Returns the bytes of the body. */
size_t http_refuse(int fd, const struct http_response *r, bool head);

/* Before a connection is closed behind an answer: what has come and will not be read (a
 * request behind the last one) would reset it, and might take the answer along. Never
 * blocks. False: nothing more can come. */
bool http_drop_unread(int fd);

#endif
