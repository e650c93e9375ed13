#include "net/address.h"

#include "base/ip.h"
#include "base/mem.h"

/* IPv4: everything is public but these (RFC 6890 and IANA's registry of special-purpose
 * addresses). */
static const struct {
    uint8_t address[4];
    int bits;
} special4[] = {
    {{0, 0, 0, 0}, 8},        /* this network; 0.0.0.0 reaches this machine */
    {{10, 0, 0, 0}, 8},       /* private */
    {{100, 64, 0, 0}, 10},    /* carrier-grade NAT, and some clouds' metadata */
    {{127, 0, 0, 0}, 8},      /* loopback */
    {{168, 63, 129, 16}, 32}, /* a cloud's metadata on an otherwise public address */
    {{169, 254, 0, 0}, 16},   /* link-local, and most clouds' metadata */
    {{172, 16, 0, 0}, 12},    /* private */
    {{192, 0, 0, 0}, 24},     /* protocol assignments */
    {{192, 0, 2, 0}, 24},     /* documentation */
    {{192, 88, 99, 0}, 24},   /* relays of 6to4 */
    {{192, 168, 0, 0}, 16},   /* private */
    {{198, 18, 0, 0}, 15},    /* benchmarks */
    {{198, 51, 100, 0}, 24},  /* documentation */
    {{203, 0, 113, 0}, 24},   /* documentation */
    {{224, 0, 0, 0}, 3},      /* multicast, reserved, broadcast */
};

/* IPv6: nothing is public outside 2000::/3, nor within these. */
static const struct {
    uint8_t address[8]; /* the rest is zero */
    int bits;
} special6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23}, /* protocol assignments: Teredo, benchmarks, ORCHID */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x20, 0x02}, 16},             /* 6to4: any IPv4 address is inside */
    {{0x3f, 0xff}, 20},             /* documentation */
};

static const uint8_t nat64_prefix[12] = {0, 0x64, 0xFF, 0x9B};

bool net_address_parse(const char *text, struct net_address *out)
{
    return ip_parse(text, out->bytes);
}

bool net_address_from(const struct sockaddr *sa, struct net_address *out, int *port)
{
    return ip_from(sa, out->bytes, port);
}

static bool equal_bits(const uint8_t *a, const uint8_t *b, int bits)
{
    int whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, (size_t)whole) != 0)
        return false;
    return !rest || (uint8_t)(a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool net_address_equal(const struct net_address *a, const struct net_address *b, int bits)
{
    return equal_bits(a->bytes, b->bytes, bits);
}

static bool is_public4(const uint8_t *bytes)
{
    for (size_t i = 0; i < ARRAY_LENGTH(special4); i++)
        if (equal_bits(bytes, special4[i].address, special4[i].bits))
            return false;
    return true;
}

bool net_address_public(const struct net_address *a)
{
    const uint8_t *b = a->bytes;
    if (ip_is_mapped(b) || !memcmp(b, nat64_prefix, 12))
        return is_public4(b + 12);
    if (b[0] >> 5 != 1)
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(special6); i++)
        if (equal_bits(b, special6[i].address, special6[i].bits))
            return false;
    return true;
}
