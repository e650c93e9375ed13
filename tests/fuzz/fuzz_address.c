/* Who is asking: an input is TRUSTED_PROXIES, the peer's address and X-Forwarded-For, a
 * line each.
 *
 * Whoever is not trusted cannot say that they are somebody else. */
#include "fuzz.h"

#include "http/address.h"

static void write_and_read(const struct http_address *a)
{
    char text[HTTP_ADDRESS_TEXT];
    struct http_address again;
    HOLDS(http_address_parse(http_address_text(a, text), &again));
    HOLDS(!memcmp(a, &again, sizeof again));
    struct http_address network = http_address_network(a),
                        twice = http_address_network(&network);
    HOLDS(!memcmp(&network, &twice, sizeof twice));
}

static void judge(const struct http_networks *trusted, const char *text,
                  const char *forwarded)
{
    struct http_address peer;
    if (!http_address_parse(text, &peer))
        return;
    write_and_read(&peer);
    struct http_address client = http_client_address(&peer, forwarded, trusted);
    if (!http_networks_hold(trusted, &peer))
        HOLDS(!memcmp(&client, &peer, sizeof peer));
    write_and_read(&client);
    /* What a client puts before the proxy's own entry changes nothing. */
    char last[64];
    const char *comma = strrchr(forwarded, ',');
    if (comma && strlen(comma + 1) < sizeof last) {
        (void)snprintf(last, sizeof last, "%s", comma + 1);
        struct http_address alone = http_client_address(&peer, last, trusted);
        if (!http_networks_hold(trusted, &alone))
            HOLDS(!memcmp(&alone, &client, sizeof client));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *rest = text;
    const char *list = fuzz_line(&rest), *peer = fuzz_line(&rest);
    struct http_networks trusted;
    struct err e = {0};
    int status = http_networks_parse(&trusted, list, &e);
    if (status)
        HOLDS(!trusted.list && !trusted.count && e.message[0]);
    for (size_t i = 0; i < trusted.count; i++)
        HOLDS(trusted.list[i].bits >= 0 && trusted.list[i].bits <= 128);
    judge(&trusted, peer, rest);
    http_networks_release(&trusted);
    free(text);
    return 0;
}
