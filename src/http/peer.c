#include "http/peer.h"

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

struct search {
    const char *name, *value;
    int count;
};

static enum MHD_Result look(void *arg, enum MHD_ValueKind kind, const char *key,
                            const char *value)
{
    (void)kind;
    struct search *s = arg;
    if (!strcasecmp(key, s->name)) {
        s->count++;
        s->value = value ? value : "";
    }
    return MHD_YES;
}

int http_request_header_once(const struct http_request *r, const char *name,
                             const char **value)
{
    struct search s = {.name = name};
    if (r->connection)
        MHD_get_connection_values(r->connection, MHD_HEADER_KIND, look, &s);
    *value = s.count == 1 ? s.value : NULL;
    return s.count;
}
