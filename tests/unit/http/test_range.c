/* Ranges that players and download managers ask for, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/range.h"

static int64_t first, last;

static enum http_range ask(const char *header, int64_t length)
{
    first = last = -7;
    return http_range_parse(header, length, &first, &last);
}

static void assert_part(const char *header, int64_t length, int64_t from, int64_t to)
{
    assert_int_equal(ask(header, length), HTTP_RANGE_PART);
    assert_int_equal(first, from);
    assert_int_equal(last, to);
}

static void parts_are_cut_at_the_end(void **state)
{
    (void)state;
    assert_part("bytes=0-", 100, 0, 99);
    assert_part("bytes=0-0", 100, 0, 0);
    assert_part("bytes=10-19", 100, 10, 19);
    assert_part("bytes=10-500", 100, 10, 99);
    assert_part("bytes=99-", 100, 99, 99);
    assert_part("bytes=-1", 100, 99, 99);
    assert_part("bytes=-500", 100, 0, 99);
    assert_part("Bytes= 5-6 ", 100, 5, 6);
    assert_part("bytes=1-99999999999999999999999", 100, 1, 99);
}

static void what_is_not_there_is_none(void **state)
{
    (void)state;
    assert_int_equal(ask("bytes=100-", 100), HTTP_RANGE_NONE);
    assert_int_equal(ask("bytes=99999999999999999999-", 100), HTTP_RANGE_NONE);
    assert_int_equal(ask("bytes=-0", 100), HTTP_RANGE_NONE);
    assert_int_equal(ask("bytes=0-", 0), HTTP_RANGE_NONE);
    assert_int_equal(ask("bytes=-5", 0), HTTP_RANGE_NONE);
}

static void what_is_not_understood_is_left_alone(void **state)
{
    static const char *const headers[] = {
        NULL,         "",           "bytes",     "bytes=",       "bytes=-",
        "bytes=5",    "bytes=a-b",  "bytes=6-5", "bytes=0-1,3-", "items=0-1",
        "bytes=+1-2", "bytes=1--2", "bytes=1-2x"};
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_int_equal(ask(headers[i], 100), HTTP_RANGE_ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_cut_at_the_end),
        cmocka_unit_test(what_is_not_there_is_none),
        cmocka_unit_test(what_is_not_understood_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
