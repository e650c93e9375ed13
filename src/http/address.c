#include "http/address.h"

#include "base/ip.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

bool http_address_parse(const char *text, struct http_address *out)
{
    return ip_parse(text, out->bytes);
}

bool http_address_from(const struct sockaddr *sa, struct http_address *out)
{
    return ip_from(sa, out->bytes, NULL);
}

const char *http_address_text(const struct http_address *a, char out[HTTP_ADDRESS_TEXT])
{
    bool v4 = ip_is_mapped(a->bytes);
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, a->bytes + (v4 ? 12 : 0), out,
                   HTTP_ADDRESS_TEXT))
        out[0] = '\0';
    return out;
}

bool http_address_loopback(const struct http_address *a)
{
    static const uint8_t v6[16] = {[15] = 1};
    return ip_is_mapped(a->bytes) ? a->bytes[12] == 127 : !memcmp(a->bytes, v6, 16);
}

struct http_address http_address_network(const struct http_address *a)
{
    struct http_address network = *a;
    if (!ip_is_mapped(a->bytes))
        memset(network.bytes + 8, 0, 8);
    return network;
}

void http_networks_release(struct http_networks *n)
{
    free(n->list);
    *n = (struct http_networks){0};
}

int http_networks_new(struct http_networks **out, const char *text, struct err *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = http_networks_parse(*out, text, e);
    if (status) {
        free(*out);
        *out = NULL;
    }
    return status;
}

void http_networks_free(void *networks)
{
    if (!networks)
        return;
    http_networks_release(networks);
    free(networks);
}

static int add(struct http_networks *n, const struct http_address *a, int bits)
{
    if (mem_grow(&n->list, &n->capacity, n->count + 1, sizeof *n->list))
        return ERR_NOMEM;
    n->list[n->count++] = (struct http_network){*a, bits};
    return 0;
}

static int add_loopback(struct http_networks *n)
{
    struct http_address v4, v6;
    if (!http_address_parse("127.0.0.0", &v4) || !http_address_parse("::1", &v6))
        return ERR_INVALID;
    int status = add(n, &v4, 96 + 8);
    return status ? status : add(n, &v6, 128);
}

/* One entry of the list; `entry` is changed. */
static int add_entry(struct http_networks *n, char *entry)
{
    if (!strcasecmp(entry, "loopback") || !strcasecmp(entry, "localhost"))
        return add_loopback(n);
    char *slash = strchr(entry, '/');
    if (slash)
        *slash = '\0';
    struct http_address a;
    if (!http_address_parse(entry, &a))
        return ERR_INVALID;
    int base = ip_is_mapped(a.bytes) && strchr(entry, '.') ? 96 : 0;
    long bits = 128 - base;
    if (slash) {
        char *end;
        bits = strtol(slash + 1, &end, 10);
        if (end == slash + 1 || *end || bits < 0 || bits > 128 - base)
            return ERR_INVALID;
    }
    return add(n, &a, base + (int)bits);
}

int http_networks_parse(struct http_networks *out, const char *text, struct err *e)
{
    *out = (struct http_networks){0};
    for (const char *p = text; *p;) {
        size_t length = strcspn(p, ", \t");
        char entry[64];
        int status = length < sizeof entry ? 0 : ERR_INVALID;
        if (length && !status) {
            memcpy(entry, p, length);
            entry[length] = '\0';
            status = add_entry(out, entry);
        }
        if (status) {
            http_networks_release(out);
            return status == ERR_NOMEM
                       ? err_set(e, status, "out of memory")
                       : err_set(
                             e, status,
                             "\"%.*s\" is no address: give addresses such as 10.0.0.1, "
                             "networks such as 10.0.0.0/8, or the word loopback",
                             (int)(length > 60 ? 60 : length), p);
        }
        p += length;
        if (*p)
            p++;
    }
    return 0;
}

static bool equal_bits(const struct http_address *a, const struct http_address *b,
                       int bits)
{
    int whole = bits / 8, rest = bits % 8;
    if (memcmp(a->bytes, b->bytes, (size_t)whole) != 0)
        return false;
    return !rest || (uint8_t)(a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0;
}

bool http_networks_hold(const struct http_networks *n, const struct http_address *a)
{
    for (size_t i = 0; i < n->count; i++)
        if (equal_bits(&n->list[i].address, a, n->list[i].bits))
            return true;
    return false;
}

/* One entry of X-Forwarded-For: an address, perhaps with a port or brackets. */
static bool parse_entry(const char *entry, size_t length, struct http_address *out)
{
    char text[64];
    while (length && (*entry == ' ' || *entry == '\t'))
        entry++, length--;
    while (length && (entry[length - 1] == ' ' || entry[length - 1] == '\t'))
        length--;
    if (!length || length >= sizeof text)
        return false;
    memcpy(text, entry, length);
    text[length] = '\0';
    char *address = text, *colon = strchr(text, ':');
    if (text[0] == '[') {
        char *end = strchr(text, ']');
        if (!end)
            return false;
        *end = '\0';
        address = text + 1;
    } else if (colon && !strchr(colon + 1, ':')) {
        *colon = '\0';
    }
    return http_address_parse(address, out);
}

struct http_address http_client_address(const struct http_address *peer,
                                        const char *forwarded_for,
                                        const struct http_networks *trusted)
{
    struct http_address client = *peer;
    const char *end = forwarded_for ? forwarded_for + strlen(forwarded_for) : NULL;
    while (end && end > forwarded_for && http_networks_hold(trusted, &client)) {
        const char *begin = end;
        while (begin > forwarded_for && begin[-1] != ',')
            begin--;
        struct http_address next;
        if (!parse_entry(begin, (size_t)(end - begin), &next))
            break;
        client = next;
        end = begin > forwarded_for ? begin - 1 : NULL;
    }
    return client;
}
