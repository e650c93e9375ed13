#include "engine/quant.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* What IEEE 754 says of a half, by arithmetic instead of by bits. */
static double half_value(unsigned half)
{
    unsigned exponent = half >> 10 & 0x1F, fraction = half & 0x3FF;
    double value =
        exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, (int)exponent - 25);
    return half & 0x8000 ? -value : value;
}

static void test_every_half_is_exact_both_ways(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 0x10000; half++) {
        float value = f16_to_f32((uint16_t)half);
        if ((half & 0x7C00) == 0x7C00) {
            assert_true(half & 0x3FF ? isnan(value) : isinf(value));
            continue;
        }
        assert_true(value == half_value(half));
        assert_int_equal(signbit(value) != 0, half >> 15);
        assert_int_equal(f32_to_f16(value), half);
    }
}

static void test_rounds_to_the_nearest_half_ties_to_even(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 0x7BFF; half++) {
        double low = half_value(half), high = half_value(half + 1);
        float middle = (float)((low + high) / 2);
        unsigned even = half & 1 ? half + 1 : half;
        assert_int_equal(f32_to_f16(middle), even);
        assert_int_equal(f32_to_f16(nextafterf(middle, 0)), half);
        assert_int_equal(f32_to_f16(nextafterf(middle, INFINITY)), half + 1);
    }
    assert_int_equal(f32_to_f16(65519.996F), 0x7BFF);
    assert_int_equal(f32_to_f16(65520), 0x7C00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xFC00);
    assert_true((f32_to_f16(NAN) & 0x7FFF) > 0x7C00);
}

static void test_bf16_is_the_top_of_f32(void **state)
{
    (void)state;
    assert_true(bf16_to_f32(0x3F80) == 1);
    assert_true(bf16_to_f32(0xC040) == -3);
    assert_true(isinf(bf16_to_f32(0x7F80)));
}

static void test_row_lengths(void **state)
{
    (void)state;
    size_t bytes = 0;
    assert_true(quant_row_bytes(TENSOR_F32, 7, &bytes));
    assert_int_equal(bytes, 28);
    assert_true(quant_row_bytes(TENSOR_Q5_1, 64, &bytes));
    assert_int_equal(bytes, 48);
    assert_false(quant_row_bytes(TENSOR_Q8_0, 33, &bytes));
    assert_false(quant_row_bytes(TENSOR_F32, SIZE_MAX / 2, &bytes));
}

static void test_finds_what_is_not_finite_anywhere(void **state)
{
    (void)state;
    float values[67];
    uint16_t halves[67];
    memset(values, 0, sizeof values);
    memset(halves, 0, sizeof halves);
    assert_true(f32_all_finite(values, 67));
    assert_true(f16_all_finite(halves, 67));
    for (int i = 0; i < 67; i++) {
        values[i] = i % 2 ? INFINITY : -NAN;
        halves[i] = i % 2 ? 0xFC00 : 0x7C01;
        assert_false(f32_all_finite(values, 67));
        assert_false(f16_all_finite(halves, 67));
        values[i] = 3e38F;
        halves[i] = 0xFBFF;
    }
    assert_true(f32_all_finite(values, 67));
    assert_true(f16_all_finite(halves, 67));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half_is_exact_both_ways),
        cmocka_unit_test(test_rounds_to_the_nearest_half_ties_to_even),
        cmocka_unit_test(test_bf16_is_the_top_of_f32),
        cmocka_unit_test(test_row_lengths),
        cmocka_unit_test(test_finds_what_is_not_finite_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
