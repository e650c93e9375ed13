#include "base/ip.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

static void map(uint8_t bytes[IP_BYTES], const struct in_addr *v4)
{
    memcpy(bytes, mapped_prefix, sizeof mapped_prefix);
    memcpy(bytes + sizeof mapped_prefix, v4, sizeof *v4);
}

bool ip_is_mapped(const uint8_t bytes[IP_BYTES])
{
    return !memcmp(bytes, mapped_prefix, sizeof mapped_prefix);
}

bool ip_parse(const char *text, uint8_t bytes[IP_BYTES])
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) != 1)
        return inet_pton(AF_INET6, text, bytes) == 1;
    map(bytes, &v4);
    return true;
}

bool ip_from(const struct sockaddr *sa, uint8_t bytes[IP_BYTES], int *port)
{
    in_port_t number;
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sa, sizeof v4);
        map(bytes, &v4.sin_addr);
        number = v4.sin_port;
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, sa, sizeof v6);
        memcpy(bytes, &v6.sin6_addr, IP_BYTES);
        number = v6.sin6_port;
    } else {
        return false;
    }
    if (port)
        *port = ntohs(number);
    return true;
}
