#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/params.h"

static void decodes_escapes(void **state)
{
    (void)state;
    char out[64];
    assert_int_equal(http_percent_decode("a%2Fb%20c+d", 11, true, out), 0);
    assert_string_equal(out, "a/b c d");
    assert_int_equal(http_percent_decode("a+b", 3, false, out), 0);
    assert_string_equal(out, "a+b");
    assert_int_equal(http_percent_decode("%c3%A4", 6, false, out), 0);
    assert_string_equal(out, "\xC3\xA4");
}

static void refuses_broken_escapes(void **state)
{
    (void)state;
    static const char *const bad[] = {"%",         "%4",     "a%",          "%zz",
                                      "%0g",       "%00",    "%ff",         "%c3",
                                      "%ed%a0%80", "%c0%af", "%f4%90%80%80"};
    char out[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(http_percent_decode(bad[i], strlen(bad[i]), true, out),
                         ERR_INVALID);
    assert_int_equal(http_percent_decode("a\0b", 3, true, out), ERR_INVALID);
}

static void parses_queries(void **state)
{
    (void)state;
    struct http_params p = {0};
    struct err e;
    assert_int_equal(http_query_parse(&p, "a=1&&b=x%26y&c&d=&a=2&e==", &e), 0);
    assert_int_equal(p.count, 6);
    assert_string_equal(http_params_get(&p, "a"), "1");
    assert_string_equal(http_params_get(&p, "b"), "x&y");
    assert_string_equal(http_params_get(&p, "c"), "");
    assert_string_equal(http_params_get(&p, "d"), "");
    assert_string_equal(http_params_get(&p, "e"), "=");
    assert_null(http_params_get(&p, "z"));
    http_params_release(&p);
    assert_int_equal(http_query_parse(&p, "a=%00", &e), ERR_INVALID);
    http_params_release(&p);
}

static void limits_the_number_of_pairs(void **state)
{
    (void)state;
    struct http_params p = {0};
    struct err e;
    struct buf query;
    buf_init(&query, 10000);
    for (int i = 0; i < HTTP_PARAMS_MAX; i++)
        buf_printf(&query, "n%d=1&", i);
    assert_int_equal(http_query_parse(&p, buf_cstr(&query), &e), 0);
    assert_int_equal(p.count, HTTP_PARAMS_MAX);
    assert_int_equal(http_query_parse(&p, "more=1", &e), ERR_TOO_LARGE);
    http_params_release(&p);
    buf_release(&query);
}

static void repairs_text(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    http_utf8_repair(&b,
                     "a\xFF"
                     "b\xC3\xA4\xC3",
                     6);
    assert_string_equal(buf_cstr(&b), "a\xEF\xBF\xBD"
                                      "b\xC3\xA4\xEF\xBF\xBD");
    assert_true(http_utf8_valid(b.data, b.length));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_escapes), cmocka_unit_test(refuses_broken_escapes),
        cmocka_unit_test(parses_queries),  cmocka_unit_test(limits_the_number_of_pairs),
        cmocka_unit_test(repairs_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
