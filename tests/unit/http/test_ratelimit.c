#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/ratelimit.h"

static struct http_address address(const char *text)
{
    struct http_address a;
    assert_true(http_address_parse(text, &a));
    return a;
}

static void reads_addresses(void **state)
{
    (void)state;
    char text[HTTP_ADDRESS_TEXT];
    struct http_address a = address("10.1.2.3");
    assert_string_equal(http_address_text(&a, text), "10.1.2.3");
    a = address("2001:db8::1");
    assert_string_equal(http_address_text(&a, text), "2001:db8::1");
    assert_false(http_address_parse("10.1.2", &a));
    assert_false(http_address_parse("", &a));
    a = address("127.9.9.9");
    assert_true(http_address_loopback(&a));
    a = address("::1");
    assert_true(http_address_loopback(&a));
    a = address("128.0.0.1");
    assert_false(http_address_loopback(&a));
}

static void reads_networks(void **state)
{
    (void)state;
    struct http_networks n;
    struct err e;
    assert_int_equal(http_networks_parse(&n, "loopback, 10.0.0.0/9 2001:db8::/33", &e),
                     0);
    static const char *const inside[] = {"127.0.0.1", "::1", "10.127.255.255",
                                         "2001:db8:7fff::1"};
    static const char *const outside[] = {"10.128.0.0", "11.0.0.0",
                                          "2001:db8:8000::", "192.168.0.1"};
    for (size_t i = 0; i < 4; i++) {
        struct http_address a = address(inside[i]), b = address(outside[i]);
        assert_true(http_networks_hold(&n, &a));
        assert_false(http_networks_hold(&n, &b));
    }
    http_networks_release(&n);
    static const char *const bad[] = {"nonsense",   "10.0.0.0/33", "10.0.0.0/",
                                      "10.0.0.0/x", "::/129",      "10.0.0.0/-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(http_networks_parse(&n, bad[i], &e), ERR_INVALID);
    assert_int_equal(http_networks_parse(&n, "", &e), 0);
    assert_int_equal(n.count, 0);
    http_networks_release(&n);
}

static void client_is(const char *peer, const char *forwarded, const char *expected)
{
    struct http_networks n;
    char text[HTTP_ADDRESS_TEXT];
    assert_int_equal(http_networks_parse(&n, "loopback,10.0.0.0/8", NULL), 0);
    struct http_address a = address(peer);
    a = http_client_address(&a, forwarded, &n);
    assert_string_equal(http_address_text(&a, text), expected);
    http_networks_release(&n);
}

static void believes_only_trusted_proxies(void **state)
{
    (void)state;
    client_is("127.0.0.1", NULL, "127.0.0.1");
    client_is("127.0.0.1", "", "127.0.0.1");
    client_is("127.0.0.1", "9.9.9.9", "9.9.9.9");
    client_is("8.8.8.8", "9.9.9.9", "8.8.8.8");
    client_is("127.0.0.1", "1.1.1.1, 9.9.9.9", "9.9.9.9");
    client_is("127.0.0.1", "1.1.1.1, 9.9.9.9 ,10.0.0.7", "9.9.9.9");
    client_is("127.0.0.1", "10.0.0.1, 10.0.0.2", "10.0.0.1");
    client_is("127.0.0.1", "1.1.1.1, unknown", "127.0.0.1");
    client_is("127.0.0.1", "9.9.9.9:5555", "9.9.9.9");
    client_is("127.0.0.1", "[2001:db8::7]:80", "2001:db8::7");
    client_is("127.0.0.1", "2001:db8::7", "2001:db8::7");
    client_is("127.0.0.1", ",,,", "127.0.0.1");
}

#define SECOND INT64_C(1000000000)

static void gives_a_burst_then_a_rate(void **state)
{
    (void)state;
    struct http_limiter *l;
    struct http_address a = address("9.9.9.9"), b = address("9.9.9.8");
    int64_t now = 1000 * SECOND, wait;
    assert_int_equal(http_limiter_new(&l, "10/minute", NULL), 0);
    for (int i = 0; i < 10; i++)
        assert_true(http_limiter_take(l, &a, now, &wait));
    assert_false(http_limiter_take(l, &a, now, &wait));
    assert_int_equal(wait, 6 * SECOND);
    assert_true(http_limiter_take(l, &b, now, &wait));
    assert_false(http_limiter_take(l, &a, now + 6 * SECOND - 1, &wait));
    assert_int_equal(wait, 1);
    assert_true(http_limiter_take(l, &a, now + 6 * SECOND, &wait));
    assert_false(http_limiter_take(l, &a, now + 6 * SECOND, &wait));
    for (int i = 0; i < 10; i++)
        assert_true(http_limiter_take(l, &a, now + 66 * SECOND, &wait));
    http_limiter_free(l);
}

static void says_what_is_left(void **state)
{
    (void)state;
    struct http_limiter *l;
    struct http_allowance a;
    const uint8_t name[HTTP_LIMITER_NAME] = "a key";
    int64_t now = 1000 * SECOND;
    assert_int_equal(http_limiter_new(&l, "4/minute", NULL), 0);
    for (int i = 3; i >= 0; i--) {
        assert_true(http_limiter_ask(l, name, now, &a));
        assert_int_equal(a.limit, 4);
        assert_int_equal(a.remaining, i);
        assert_int_equal(a.reset_ns, (4 - i) * 15 * SECOND);
        assert_int_equal(a.wait_ns, 0);
    }
    assert_false(http_limiter_ask(l, name, now + 5 * SECOND, &a));
    assert_int_equal(a.remaining, 0);
    assert_int_equal(a.reset_ns, 55 * SECOND);
    assert_int_equal(a.wait_ns, 10 * SECOND);
    assert_true(http_limiter_ask(l, name, now + 35 * SECOND, &a));
    assert_int_equal(a.remaining, 1);
    http_limiter_free(l);
    assert_true(http_limiter_ask(NULL, name, now, &a));
    assert_int_equal(a.limit, 0);
}

static void counts_an_ipv6_network_as_one(void **state)
{
    (void)state;
    struct http_limiter *l;
    struct http_address a = address("2001:db8::1"), b = address("2001:db8::ffff:2");
    struct http_address c = address("2001:db8:0:1::1");
    int64_t wait;
    assert_int_equal(http_limiter_new(&l, "1/hour", NULL), 0);
    assert_true(http_limiter_take(l, &a, SECOND, &wait));
    assert_false(http_limiter_take(l, &b, SECOND, &wait));
    assert_true(http_limiter_take(l, &c, SECOND, &wait));
    http_limiter_free(l);
}

static void remembers_a_bounded_number(void **state)
{
    (void)state;
    struct http_limiter *l;
    int64_t wait;
    assert_int_equal(http_limiter_new(&l, "2/minute", NULL), 0);
    for (int i = 0; i < 100000; i++) {
        char text[HTTP_ADDRESS_TEXT];
        (void)snprintf(text, sizeof text, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        struct http_address a = address(text);
        assert_true(http_limiter_take(l, &a, SECOND + i, &wait));
    }
    http_limiter_free(l);
}

static void can_be_off(void **state)
{
    (void)state;
    struct http_limiter *l;
    struct err e;
    int64_t wait;
    struct http_address a = address("9.9.9.9");
    assert_int_equal(http_limiter_new(&l, "off", &e), 0);
    assert_null(l);
    for (int i = 0; i < 1000; i++)
        assert_true(http_limiter_take(l, &a, SECOND, &wait));
    assert_int_equal(http_limiter_new(&l, "often", &e), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_addresses),
        cmocka_unit_test(reads_networks),
        cmocka_unit_test(believes_only_trusted_proxies),
        cmocka_unit_test(gives_a_burst_then_a_rate),
        cmocka_unit_test(says_what_is_left),
        cmocka_unit_test(counts_an_ipv6_network_as_one),
        cmocka_unit_test(remembers_a_bounded_number),
        cmocka_unit_test(can_be_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
