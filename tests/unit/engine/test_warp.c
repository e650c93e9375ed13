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

/* Rows from top to bottom are the states; a row that begins with "pause" is one, and one
 * that begins with "word" begins a word. Returns which state each column belongs to, as
 * digits; "" when there is no path. */
static const char *path_of(const char *const *drawn, size_t n, const char *cuts)
{
    static char owner[33];
    static float gain[16][32];
    struct warp_state states[16] = {{0}};
    float sum[2 * 16];
    unsigned char trace[16 * 32];
    size_t first[16], last[16], columns = strlen(drawn[0]) - 5;
    bool cut[32] = {0};
    for (size_t s = 0; s < n; s++) {
        const char *row = drawn[s] + 5;
        for (size_t c = 0; c < columns; c++)
            gain[s][c] = row[c] == '#' ? 1 : row[c] == '+' ? 0.4f : -1;
        states[s] = (struct warp_state){.gain = gain[s],
                                        .pause = strncmp(drawn[s], "pause", 5) == 0,
                                        .begins = strncmp(drawn[s], "word ", 5) == 0};
    }
    for (size_t c = 0; cuts && c < columns; c++)
        cut[c] = cuts[c] == '|';
    owner[0] = '\0';
    if (!warp_path(states, n, columns, cuts ? cut : NULL, sum, trace, first, last))
        return owner;
    memset(owner, '?', columns);
    owner[columns] = '\0';
    for (size_t s = 0; s < n; s++)
        for (size_t c = first[s]; c <= last[s] && c < columns; c++)
            owner[c] = owner[c] == '?' ? (char)('0' + s) : '!';
    return owner;
}

static void the_path_follows_the_ridge(void **state)
{
    (void)state;
    const char *const ridge[] = {
        "word ###.......",
        "word ...##.....",
        "     .....#....",
        "word ......####",
    };
    assert_string_equal(path_of(ridge, 4, NULL), "0001123333");
}

static void a_false_ridge_out_of_order_is_left(void **state)
{
    (void)state;
    /* The second looks more at the end, where the others belong. */
    const char *const ridge[] = {
        "word ###.......",
        "word ...++...##",
        "word .....##...",
        "word .......###",
    };
    assert_string_equal(path_of(ridge, 4, NULL), "0001122333");
}

static void a_pause_is_taken_where_it_fits(void **state)
{
    (void)state;
    const char *const both[] = {
        "pause##.......##", "word ..##.......", "pause##..##...##",
        "word ......###..", "pause##..##...##",
    };
    assert_string_equal(path_of(both, 5, NULL), "00112233344");
    const char *const none[] = {
        "pause.......", "word ####...", "pause.......", "word ....###", "pause.......",
    };
    assert_string_equal(path_of(none, 5, NULL), "1111333");
    const char *const alone[] = {"pause..."};
    assert_string_equal(path_of(alone, 1, NULL), "000");
}

static void a_word_does_not_go_over_a_cut(void **state)
{
    (void)state;
    const char *const word[] = {
        "word ##.......", "pause.........", "word ...##....",
        "     .....####", "pause.........",
    };
    assert_string_equal(path_of(word, 5, NULL), "002223333");
    /* Where the second word would be cut in two it is on one side, whole. */
    assert_string_equal(path_of(word, 5, ".....|..."), "001112333");
    assert_string_equal(path_of(word, 5, ".......|."), "002223344");
    assert_string_equal(path_of(word, 5, "...|....."), "001223333");
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    const char *const tall[] = {"word #.", "     #.", "     .#"};
    assert_string_equal(path_of(tall, 3, NULL), "");
    assert_string_equal(path_of(tall, 2, NULL), "01");
    assert_string_equal(path_of(tall, 2, ".|"), "");
    const char *const flat[] = {"word #########"};
    assert_string_equal(path_of(flat, 1, NULL), "000000000");
}

static void rows_are_shifted_by_parts_of_a_column(void **state)
{
    (void)state;
    const float row[] = {0, 10, 20, 40};
    const float later[] = {15, 30, 40, 40}, earlier[] = {0, 0, 5, 15};
    float out[4];
    warp_shift(out, row, 4, 1.5f);
    assert_memory_equal(out, later, sizeof later);
    warp_shift(out, row, 4, -1.5f);
    assert_memory_equal(out, earlier, sizeof earlier);
    warp_shift(out, row, 1, 3);
    assert_near(out[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_get_mean_0_and_variance_1),
        cmocka_unit_test(the_median_ignores_what_is_alone),
        cmocka_unit_test(the_path_follows_the_ridge),
        cmocka_unit_test(a_false_ridge_out_of_order_is_left),
        cmocka_unit_test(a_pause_is_taken_where_it_fits),
        cmocka_unit_test(a_word_does_not_go_over_a_cut),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(rows_are_shifted_by_parts_of_a_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
