/* How full a disk may be: shares of small and large ones, and of what is kept in any
 * case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/pressure.h"

#define MIB     (UINT64_C(1) << 20)
#define GIB     (UINT64_C(1) << 30)
#define RESERVE (64 * MIB)

static const struct config as_usual = {.disk_low_percent = 10, .disk_stop_percent = 5};

static int level(uint64_t free_bytes, uint64_t total)
{
    return pressure_level(&as_usual, free_bytes, total, RESERVE);
}

static void a_disk_of_ordinary_size(void **state)
{
    (void)state;
    uint64_t total = 20 * GIB;
    assert_int_equal(level(total, total), 0);
    assert_int_equal(level(total / 100 * 10, total), 0);
    assert_int_equal(level(total / 100 * 10 - 1, total), 1);
    assert_int_equal(level(total / 100 * 5, total), 1);
    assert_int_equal(level(total / 100 * 5 - 1, total), 2);
    assert_int_equal(level(0, total), 2);
}

/* Nobody wants 500 GB to lie idle. */
static void a_large_disk_keeps_no_more_than_anybody_needs(void **state)
{
    (void)state;
    uint64_t total = 10000 * GIB;
    assert_int_equal(level(10 * GIB, total), 0);
    assert_int_equal(level(10 * GIB - 1, total), 1);
    assert_int_equal(level(2 * GIB, total), 1);
    assert_int_equal(level(2 * GIB - 1, total), 2);
}

static void a_small_disk_keeps_the_reserve(void **state)
{
    (void)state;
    uint64_t total = 500 * MIB;
    assert_int_equal(level(2 * RESERVE, total), 0);
    assert_int_equal(level(2 * RESERVE - 1, total), 1);
    assert_int_equal(level(RESERVE, total), 1);
    assert_int_equal(level(RESERVE - 1, total), 2);
    assert_int_equal(level(0, 0), 2);
    assert_int_equal(level(UINT64_MAX, UINT64_MAX), 0);
}

/* Set the wrong way round, uploads are refused first, and nothing worse. */
static void shares_that_are_odd(void **state)
{
    (void)state;
    const struct config off = {0};
    const struct config round = {.disk_low_percent = 5, .disk_stop_percent = 10};
    assert_int_equal(pressure_level(&off, RESERVE, 20 * GIB, RESERVE), 1);
    assert_int_equal(pressure_level(&off, 2 * RESERVE, 20 * GIB, RESERVE), 0);
    assert_int_equal(pressure_level(&round, 3 * GIB / 2, 20 * GIB, RESERVE), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_of_ordinary_size),
        cmocka_unit_test(a_large_disk_keeps_no_more_than_anybody_needs),
        cmocka_unit_test(a_small_disk_keeps_the_reserve),
        cmocka_unit_test(shares_that_are_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
