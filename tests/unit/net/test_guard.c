/* The guard: every way to write an address that is not on the public internet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "net/address.h"
#include "net/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const struct {
    const char *address;
    bool public;
} addresses[] = {
    {"8.8.8.8", true},
    {"1.1.1.1", true},
    {"93.184.216.34", true},
    {"100.63.255.255", true},
    {"100.128.0.0", true},
    {"172.15.255.255", true},
    {"172.32.0.1", true},
    {"192.0.1.1", true},
    {"198.17.255.255", true},
    {"198.20.0.0", true},
    {"223.255.255.255", true},
    {"0.0.0.0", false},
    {"0.1.2.3", false},
    {"10.0.0.1", false},
    {"10.255.255.255", false},
    {"100.64.0.1", false},      /* carrier-grade NAT */
    {"100.100.100.200", false}, /* metadata */
    {"100.127.255.255", false},
    {"127.0.0.1", false},
    {"127.255.255.254", false},
    {"168.63.129.16", false},   /* metadata */
    {"169.254.169.254", false}, /* metadata */
    {"169.254.170.2", false},
    {"172.16.0.1", false},
    {"172.31.255.255", false},
    {"192.0.0.192", false}, /* metadata */
    {"192.0.2.1", false},
    {"192.88.99.1", false},
    {"192.168.0.1", false},
    {"198.18.0.1", false},
    {"198.19.255.255", false},
    {"198.51.100.7", false},
    {"203.0.113.9", false},
    {"224.0.0.1", false},
    {"239.255.255.250", false},
    {"240.0.0.1", false},
    {"255.255.255.255", false},
    {"2606:4700:4700::1111", true},
    {"2a00:1450:4001::200e", true},
    {"2620:4f:8000::1", true},
    {"::", false},
    {"::1", false},
    {"::8.8.8.8", false}, /* compatible: out of use */
    {"::ffff:8.8.8.8", true},
    {"::ffff:127.0.0.1", false},
    {"::ffff:169.254.169.254", false},
    {"64:ff9b::8.8.8.8", true}, /* NAT64 */
    {"64:ff9b::10.0.0.1", false},
    {"64:ff9b::a9fe:a9fe", false},
    {"64:ff9b:1::8.8.8.8", false},
    {"100::1", false},
    {"2001::1", false}, /* Teredo */
    {"2001:2::1", false},
    {"2001:db8::1", false},
    {"2002:0808:0808::1", false}, /* 6to4 */
    {"2002:7f00:0001::1", false},
    {"3fff::1", false},
    {"5f00::1", false},
    {"fc00::1", false},
    {"fd00:ec2::254", false}, /* metadata */
    {"fe80::1", false},
    {"fec0::1", false},
    {"ff02::1", false},
};

static void every_address_is_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++) {
        struct net_address a;
        assert_true(net_address_parse(addresses[i].address, &a));
        if (net_address_public(&a) != addresses[i].public)
            fail_msg("%s is taken for %s", addresses[i].address,
                     addresses[i].public ? "private" : "public");
    }
}

static struct net_guard *guard(const char *allow)
{
    struct net_guard *g;
    struct err e;
    if (net_guard_new(&g, allow, &e))
        fail_msg("%s", e.message);
    return g;
}

static bool admits(const struct net_guard *g, const char *host, const char *address,
                   int port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return net_guard_admits(g, host, (struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return net_guard_admits(g, host, (struct sockaddr *)&v6);
}

static void a_socket_is_judged_by_address_and_port(void **state)
{
    (void)state;
    struct net_guard *g = guard(NULL);
    assert_true(admits(g, "example.org", "93.184.216.34", 443));
    assert_true(admits(g, "example.org", "93.184.216.34", 8080));
    assert_false(admits(g, "example.org", "93.184.216.34", 22));
    assert_false(admits(g, "example.org", "127.0.0.1", 443));
    assert_false(admits(g, "example.org", "::ffff:10.0.0.1", 80));
    struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(net_guard_admits(g, "example.org", &local));
    net_guard_free(g);
}

static void what_is_listed_is_admitted_and_nothing_else(void **state)
{
    (void)state;
    struct net_guard *g =
        guard("nas.local:9000, 10.1.0.0/16 [fd00::]/8,192.168.1.5:8000,media.example");
    assert_true(admits(g, "nas.local", "192.168.7.7", 9000));
    assert_true(admits(g, "NAS.local.", "192.168.7.7", 9000));
    assert_false(admits(g, "nas.local", "192.168.7.7", 9001));
    assert_false(admits(g, "nas.local.evil.example", "192.168.7.7", 9000));
    assert_true(admits(g, "x", "10.1.2.3", 1));
    assert_false(admits(g, "x", "10.2.2.3", 80));
    assert_true(admits(g, "x", "fd12::1", 80));
    assert_true(admits(g, "x", "192.168.1.5", 8000));
    assert_false(admits(g, "x", "192.168.1.5", 80));
    assert_true(admits(g, "media.example", "10.9.9.9", 25));
    net_guard_free(g);
    g = guard("loopback:5000");
    assert_true(admits(g, "x", "127.3.3.3", 5000));
    assert_true(admits(g, "x", "::1", 5000));
    assert_false(admits(g, "x", "127.0.0.1", 5001));
    net_guard_free(g);
}

static void a_list_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const lists[] = {"10.0.0.0/33", "10.0.0.1:99999", "ho$t",
                                        "[::1",        "::1/129",        "a/8",
                                        "10.0.0.0/x",  "host:0",         "host:"};
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        struct net_guard *g;
        struct err e;
        if (net_guard_new(&g, lists[i], &e) != ERR_INVALID)
            fail_msg("%s is taken", lists[i]);
        assert_null(g);
    }
}

static void a_url_is_judged_before_anybody_is_asked(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int status;
    } urls[] = {
        {"https://example.org/a.mp3", 0},
        {"http://example.org:8080/a.mp3?x=1#y", 0},
        {"HTTPS://EXAMPLE.ORG/", 0},
        {"https://[2606:4700:4700::1111]/", 0},
        {"ftp://example.org/a", ERR_INVALID},
        {"file:///etc/passwd", ERR_INVALID},
        {"gopher://example.org/", ERR_INVALID},
        {"javascript:alert(1)", ERR_INVALID},
        {"example.org", ERR_INVALID},
        {"", ERR_INVALID},
        {"http://", ERR_INVALID},
        {"http://user@example.org/", ERR_INVALID},
        {"http://user:secret@example.org/", ERR_INVALID},
        {"http://example.org@127.0.0.1/", ERR_INVALID},
        {"http://example.org /", ERR_INVALID},
        {"http://example.org\r\nX: y/", ERR_INVALID},
        {"http://example.org\\@127.0.0.1/", ERR_INVALID},
        {"http://example.org:22/", ERR_DENIED},
        {"http://example.org:6379/", ERR_DENIED},
        {"http://127.0.0.1/", ERR_DENIED},
        {"http://127.1/", ERR_DENIED},
        {"http://0x7f000001/", ERR_DENIED},
        {"http://2130706433/", ERR_DENIED},
        {"http://0177.0.0.1/", ERR_DENIED},
        {"http://[::1]/", ERR_DENIED},
        {"http://[::ffff:169.254.169.254]/", ERR_DENIED},
        {"http://[fe80::1%25eth0]/", ERR_DENIED},
        {"http://169.254.169.254/latest/meta-data/", ERR_DENIED},
    };
    struct net_guard *g = guard("");
    for (size_t i = 0; i < ARRAY_LENGTH(urls); i++) {
        struct err e = {0};
        int status = net_guard_url(g, urls[i].url, &e);
        if (status != urls[i].status)
            fail_msg("%s: %d (%s)", urls[i].url, status, e.message);
    }
    net_guard_free(g);
}

static void a_url_is_shown_without_its_secrets(void **state)
{
    (void)state;
    char out[300];
    assert_string_equal(net_url_origin("https://hooks.example/T0/secret?key=1", out, 300),
                        "https://hooks.example");
    assert_string_equal(net_url_origin("http://a.example:8080/x", out, 300),
                        "http://a.example:8080");
    assert_string_equal(net_url_origin("nonsense:", out, 300), "");
    assert_string_equal(
        net_url_filename("https://a.example/x/My%20talk.mp3?s=1", out, 300),
        "My talk.mp3");
    assert_string_equal(net_url_filename("https://a.example/", out, 300), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_address_is_judged),
        cmocka_unit_test(a_socket_is_judged_by_address_and_port),
        cmocka_unit_test(what_is_listed_is_admitted_and_nothing_else),
        cmocka_unit_test(a_list_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_url_is_judged_before_anybody_is_asked),
        cmocka_unit_test(a_url_is_shown_without_its_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
