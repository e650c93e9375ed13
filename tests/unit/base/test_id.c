#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/id.h"

static void ids_are_valid_and_sort(void **state)
{
    (void)state;
    char a[ID_SIZE], b[ID_SIZE];
    id_new(a);
    struct timespec pause = {.tv_nsec = 3000000};
    nanosleep(&pause, NULL);
    id_new(b);
    assert_true(id_valid(a));
    assert_true(strcmp(a, b) < 0);
}

static void paths_are_not_ids(void **state)
{
    (void)state;
    assert_false(id_valid("../../../../../../etc/passwd"));
    assert_false(id_valid(""));
    assert_false(id_valid(NULL));
    assert_false(id_valid("0190b5d0-aaaa-7bbb-8ccc-0123456789abX"));
    assert_false(id_valid("0190B5D0-aaaa-7bbb-8ccc-0123456789ab"));
    assert_true(id_valid("0190b5d0-aaaa-7bbb-8ccc-0123456789ab"));
}

static void iso_is_utc(void **state)
{
    (void)state;
    char text[CLOCK_ISO_SIZE];
    assert_string_equal(clock_iso(1785585600123, text), "2026-08-01T12:00:00.123Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_valid_and_sort),
        cmocka_unit_test(paths_are_not_ids),
        cmocka_unit_test(iso_is_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
