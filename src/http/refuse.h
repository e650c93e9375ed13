/* Saying no while the client is still sending. */
#ifndef HTTP_REFUSE_H
#define HTTP_REFUSE_H

#include "http/response.h"

/* Write the answer to the socket, end our side, and read for a short while what the
 * client has already sent: closing at once would reset the connection, and the client
 * would see that instead of the answer. libmicrohttpd can do neither in the middle of a
 * body. The connection must be closed afterwards. Returns the bytes of the body. */
size_t http_refuse(int fd, const struct http_response *r, bool head);

#endif
