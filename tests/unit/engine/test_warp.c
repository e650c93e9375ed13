/* The arithmetic of alignment on matrices made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/warp.h"

#include <math.h>
#include <string.h>

#define assert_near(a, b) assert_true(fabs((double)(a) - (double)(b)) < 1e-5)

static void columns_get_mean_0_and_variance_1(void **state)
{
    (void)state;
    float w[] = {1, 5, 2, 1, 5, 4, 4, 5, 9}, scratch[6];
    warp_standardise(w, 3, 3, scratch);
    for (size_t c = 0; c < 3; c++) {
        float sum = 0, squares = 0;
        for (size_t r = 0; r < 3; r++) {
            sum += w[r * 3 + c];
            squares += w[r * 3 + c] * w[r * 3 + c];
        }
        assert_near(sum, 0);
        assert_near(squares / 3, c == 1 ? 0 : 1); /* the second has no variance */
    }
    assert_near(w[0], -1 / sqrt(2));
    assert_near(w[6], sqrt(2));
}

static void the_median_ignores_what_is_alone(void **state)
{
    (void)state;
    const float row[] = {1, 1, 1, 1, 90, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7};
    float out[15];
    warp_median(out, row, 15);
    for (size_t i = 0; i <= 8; i++)
        assert_near(out[i], 1);
    assert_near(out[11], 4);
    /* Reflected at the end: 4 5 6 7 6 5 4. */
    assert_near(out[14], 5);
    const float ramp[] = {5, 1, 2, 9};
    warp_median(out, ramp, 4);
    assert_near(out[0], 2); /* 9 2 1 5 1 2 9 */
    warp_median(out, ramp, 3);
    assert_memory_equal(out, ramp, 3 * sizeof *ramp);
    warp_median(out, ramp, 1);
    assert_near(out[0], 5);
}

static void path_of(const char *const *drawn, size_t rows, size_t *first)
{
    float gain[16 * 32];
    double cost[2 * 33];
    unsigned char trace[16 * 32];
    size_t columns = strlen(drawn[0]);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            gain[r * columns + c] = drawn[r][c] == '#'   ? 1
                                    : drawn[r][c] == '+' ? 0.4f
                                                         : -1;
    warp_path(gain, rows, columns, cost, trace, first);
}

static void the_path_follows_the_ridge(void **state)
{
    (void)state;
    const char *const ridge[] = {
        "###.......",
        "...##.....",
        ".....#....",
        "......####",
    };
    size_t first[4];
    const size_t wanted[] = {0, 3, 5, 6};
    path_of(ridge, 4, first);
    assert_memory_equal(first, wanted, sizeof wanted);
}

static void a_false_ridge_out_of_order_is_left(void **state)
{
    (void)state;
    /* Row 1 looks more at the end, where rows 2 and 3 belong. */
    const char *const ridge[] = {
        "###.......",
        "...++...##",
        ".....##...",
        ".......###",
    };
    size_t first[4];
    const size_t wanted[] = {0, 3, 5, 7};
    path_of(ridge, 4, first);
    assert_memory_equal(first, wanted, sizeof wanted);
}

static void more_rows_than_columns_share_them(void **state)
{
    (void)state;
    const char *const tall[] = {"#.", "#.", ".#", ".#", ".#"};
    size_t first[5];
    path_of(tall, 5, first);
    for (size_t r = 0; r < 5; r++)
        assert_int_equal(first[r], r < 2 ? 0 : 1);
    const char *const one[] = {"#", "#", "#"};
    path_of(one, 3, first);
    for (size_t r = 0; r < 3; r++)
        assert_int_equal(first[r], 0);
    const char *const flat[] = {"#########"};
    path_of(flat, 1, first);
    assert_int_equal(first[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_get_mean_0_and_variance_1),
        cmocka_unit_test(the_median_ignores_what_is_alone),
        cmocka_unit_test(the_path_follows_the_ridge),
        cmocka_unit_test(a_false_ridge_out_of_order_is_left),
        cmocka_unit_test(more_rows_than_columns_share_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
