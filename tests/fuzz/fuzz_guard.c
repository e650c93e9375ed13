/* The guard against requests into our own network: an input is the list of what is
 * allowed besides, and a URL, a line each.
 *
 * With an empty list no private address gets through, however it is written: the list of
 * what is private is made anew here, from the kernel's reading of the address. */
#include "fuzz.h"

#include "net/address.h"
#include "net/guard.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>

static bool is_private4(uint32_t a)
{
    return a >> 24 == 0 || a >> 24 == 10 || a >> 24 == 127 || a >> 22 == 0x191 ||
           a >> 16 == 0xA9FE || a >> 20 == 0xAC1 || a >> 16 == 0xC0A8 || a >> 28 >= 14;
}

static bool is_private6(const struct in6_addr *a)
{
    uint32_t last;
    memcpy(&last, a->s6_addr + 12, sizeof last);
    if (IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_V4COMPAT(a))
        return is_private4(ntohl(last));
    return IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a) ||
           IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_SITELOCAL(a) ||
           IN6_IS_ADDR_MULTICAST(a) || (a->s6_addr[0] & 0xFE) == 0xFC;
}

static bool is_private(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sa, sizeof v4);
        return is_private4(ntohl(v4.sin_addr.s_addr));
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, sa, sizeof v6);
    return is_private6(&v6.sin6_addr);
}

/* What the resolver makes of the host without asking anybody: any spelling of a number.
 */
static void check_host(const struct net_guard *none, const char *url, bool passed)
{
    char *host = NULL, *name;
    CURLU *u = curl_url();
    if (!curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) &&
        !curl_url_get(u, CURLUPART_HOST, &host, 0)) {
        size_t length = strlen(host);
        name = host;
        if (length > 2 && name[0] == '[' && name[length - 1] == ']') {
            name[length - 1] = '\0';
            name++;
        }
        const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                       .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        if (!getaddrinfo(name, "80", &hints, &found)) {
            bool secret = is_private(found->ai_addr);
            HOLDS(!secret || !net_guard_admits(none, name, found->ai_addr));
            struct in_addr v4;
            struct in6_addr v6;
            bool plain =
                inet_pton(AF_INET, name, &v4) == 1 || inet_pton(AF_INET6, name, &v6) == 1;
            HOLDS(!(secret && plain && passed));
            freeaddrinfo(found);
        }
        curl_free(host);
    }
    curl_url_cleanup(u);
}

static void show(const char *url)
{
    char origin[300], name[300], tiny[4];
    (void)net_url_origin(url, origin, sizeof origin);
    (void)net_url_filename(url, name, sizeof name);
    (void)net_url_filename(url, tiny, sizeof tiny);
    HOLDS(!strchr(origin, '?') && !strchr(name, '/'));
}

/* Any address at all, as it stands before a socket is made. */
static void admit(const struct net_guard *none, const uint8_t *data, size_t size)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(443)};
    if (size < 16)
        return;
    memcpy(&v6.sin6_addr, data, 16);
    memcpy(&v4.sin_addr, data, 4);
    HOLDS(!(is_private((struct sockaddr *)&v6) &&
            net_guard_admits(none, "a", (struct sockaddr *)&v6)));
    HOLDS(!(is_private((struct sockaddr *)&v4) &&
            net_guard_admits(none, "a", (struct sockaddr *)&v4)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct net_guard *none;
    struct net_guard *guard = NULL;
    struct err e = {0};
    if (!none)
        HOLDS(!net_guard_new(&none, "", NULL));
    admit(none, data, size);
    char *text = fuzz_text(data, size), *rest = text;
    const char *list = fuzz_line(&rest), *url = fuzz_line(&rest);
    int status = net_guard_new(&guard, list, &e);
    HOLDS(!status == !!guard && (!status || e.message[0]));
    if (guard)
        (void)net_guard_url(guard, url, &e);
    bool passed = !net_guard_url(none, url, &e);
    check_host(none, url, passed);
    if (passed)
        HOLDS(!guard || !net_guard_url(guard, url, &e)); /* a list only adds */
    show(url);
    net_guard_free(guard);
    free(text);
    return 0;
}
