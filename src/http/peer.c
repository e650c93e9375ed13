#include "http/peer.h"

#include "http/head.h"

#include <microhttpd.h>
#include <strings.h>

struct http_address http_request_peer(const struct http_request *r)
{
    struct http_address peer = {0};
    if (!r->connection)
        return peer; /* it has gone */
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr)
        (void)http_address_from(info->client_addr, &peer);
    return peer;
}

int http_request_header_once(const struct http_request *r, const char *name,
                             const char **value)
{
    int count = 0;
    *value = NULL;
    for (size_t i = 0; r->head && i < r->head->count; i++)
        if (!strcasecmp(r->head->list[i].name, name)) {
            count++;
            *value = r->head->list[i].value;
        }
    if (count != 1)
        *value = NULL;
    return count;
}
