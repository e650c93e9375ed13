/* The token embedding before it is rounded to 8 bits: exact where nothing is rounded, and
 * nearer than without where columns differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/pack_tokens.h"

#include <math.h>

enum { ROWS = 40, COLS = 96 };

static uint64_t seed = 88172645463325252u;

static float next_float(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (float)(int64_t)seed / 9.3e18f;
}

/* As model_pack.c rounds. */
static void round_row(float *row, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        most = fmaxf(most, fabsf(row[i]));
    for (int i = 0; i < n && most > 0; i++)
        row[i] = rintf(row[i] * (127 / most)) * (most / 127);
}

static void factors_are_powers_of_two(void **state)
{
    (void)state;
    static const float most[] = {1, 1, 16, 0, INFINITY, NAN, 1e-30f, 1, 1e9f};
    float factors[9];
    int power;
    token_columns_choose(most, 9, factors);
    for (int i = 0; i < 9; i++)
        assert_true(frexpf(factors[i], &power) == 0.5f && power >= -5 && power <= 7);
    assert_true(factors[3] == 1 && factors[4] == 1 && factors[5] == 1 && factors[6] == 1);
    assert_true(factors[2] < factors[0] && factors[8] < factors[2]);
}

static void what_is_alike_stays_as_it_is(void **state)
{
    (void)state;
    float most[COLS], factors[COLS];
    for (int i = 0; i < COLS; i++)
        most[i] = 3;
    token_columns_choose(most, COLS, factors);
    for (int i = 0; i < COLS; i++)
        assert_true(factors[i] == 1);
}

/* What rounding adds to the products of a row with inputs of size one. */
static double error_of(const float *wanted, const float *found)
{
    double sum = 0;
    for (int i = 0; i < COLS; i++)
        sum += pow((double)wanted[i] - (double)found[i], 2);
    return sum;
}

/* Some columns stick out, and others are large in all rows alike. */
static void make_tokens(float tokens[ROWS][COLS])
{
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < COLS; i++)
            tokens[r][i] =
                next_float() * (i % 24 == 5 ? 6.0f : 1.0f) + (i % 32 == 7 ? 9.0f : 0.0f);
}

static void columns_of(float tokens[ROWS][COLS], struct token_columns *t)
{
    float most[COLS];
    for (int i = 0; i < COLS; i++) {
        double sum = 0;
        for (int r = 0; r < ROWS; r++)
            sum += (double)tokens[r][i];
        t->common[i] = (float)(sum / ROWS);
        most[i] = 0;
        for (int r = 0; r < ROWS; r++)
            most[i] = fmaxf(most[i], fabsf(tokens[r][i] - t->common[i]));
    }
    token_columns_choose(most, COLS, t->factors);
    for (int i = 0; i < COLS; i++)
        t->common[i] *= t->factors[i];
}

static void tokens_are_rounded_more_finely(void **state)
{
    (void)state;
    static float tokens[ROWS][COLS];
    float common[COLS], factors[COLS], plain[COLS], ours[COLS];
    struct token_columns t = {common, factors};
    make_tokens(tokens);
    columns_of(tokens, &t);
    for (int r = 0; r < ROWS; r++) {
        memcpy(plain, tokens[r], sizeof plain);
        memcpy(ours, tokens[r], sizeof ours);
        round_row(plain, COLS);
        token_columns_apply(&t, ours, COLS);
        round_row(ours, COLS);
        for (int i = 0; i < COLS; i++)
            ours[i] = (ours[i] + common[i]) / factors[i];
        assert_true(error_of(tokens[r], ours) < 0.25 * error_of(tokens[r], plain));
    }
}

/* Rows that 8 bits hold exactly are held exactly with factors, too. */
static void what_is_representable_stays_exact(void **state)
{
    (void)state;
    float most[COLS], factors[COLS], common[COLS] = {0}, row[COLS], held[COLS];
    struct token_columns t = {common, factors};
    for (int i = 0; i < COLS; i++)
        most[i] = ldexpf(1, i % 5 - 2);
    token_columns_choose(most, COLS, factors);
    for (int i = 0; i < COLS; i++)
        row[i] = (float)(i % 2 ? 127 - i : i - 127) / factors[i];
    memcpy(held, row, sizeof held);
    token_columns_apply(&t, held, COLS);
    round_row(held, COLS);
    for (int i = 0; i < COLS; i++)
        assert_true(held[i] / factors[i] == row[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_are_powers_of_two),
        cmocka_unit_test(what_is_alike_stays_as_it_is),
        cmocka_unit_test(tokens_are_rounded_more_finely),
        cmocka_unit_test(what_is_representable_stays_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
