/* Addresses of the internet in 16 bytes, those of IPv4 mapped (RFC 4291, 2.5.5.2): what
 * the server and the client of HTTP both begin from. */
#ifndef BASE_IP_H
#define BASE_IP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define IP_BYTES 16

bool ip_is_mapped(const uint8_t bytes[IP_BYTES]);
/* False for a text that is no address; `bytes` are undefined then. */
bool ip_parse(const char *text, uint8_t bytes[IP_BYTES]);
/* False for a socket of another family. `port` may be NULL. */
bool ip_from(const struct sockaddr *sa, uint8_t bytes[IP_BYTES], int *port);

#endif
