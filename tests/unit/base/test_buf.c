#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"

static void grows_and_terminates(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_string_equal(buf_cstr(&b), "");
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "%d,", i % 10);
    assert_false(buf_failed(&b));
    assert_int_equal(b.length, 200);
    assert_int_equal(buf_cstr(&b)[200], 0);
    buf_release(&b);
}

static void refuses_past_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_str(&b, "0123456789");
    assert_false(buf_failed(&b));
    buf_char(&b, 'x');
    assert_true(buf_failed(&b));
    assert_string_equal(buf_cstr(&b), "0123456789");
    buf_add(&b, "y", SIZE_MAX);
    assert_null(buf_take(&b));
    buf_release(&b);
}

static void take_hands_over(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    free(empty);
    buf_str(&b, "abc");
    char *text = buf_take(&b);
    assert_string_equal(text, "abc");
    assert_int_equal(b.length, 0);
    free(text);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_terminates),
        cmocka_unit_test(refuses_past_its_maximum),
        cmocka_unit_test(take_hands_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
