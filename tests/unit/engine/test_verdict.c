/* Can that have been said? Tokens below 100 are text, and each takes a quarter of a
 * second at least; timestamps begin at 200. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/verdict.h"

enum { EOT = 100, T = 200, FRAMES = 3000 };

static const struct special_tokens special = {.eot = EOT, .timestamp_begin = T};
static uint8_t paces[EOT];

struct text {
    int32_t tokens[400];
    size_t count;
};

static void say(struct text *t, int32_t token)
{
    assert_true(t->count < ARRAY_LENGTH(t->tokens));
    t->tokens[t->count++] = token;
}

/* One segment of `n` tokens that differ, between two times in seconds. */
static void segment(struct text *t, double start, double end, int n)
{
    say(t, T + (int32_t)(start * 50));
    for (int i = 0; i < n; i++)
        say(t, (int32_t)(1 + (t->count * 7 + (size_t)i * 13) % 97));
    say(t, T + (int32_t)(end * 50));
}

static bool segment_repetitive;

static enum verdict judge(const struct text *t, const int *spoken, bool repetitive)
{
    struct piece pieces[400];
    for (size_t i = 0; i < EOT; i++)
        paces[i] = 25;
    const struct testimony testimony = {
        .special = &special,
        .paces = paces,
        .tokens = t->tokens,
        .count = t->count,
        .pieces = pieces,
        .n_pieces = segments_cut(t->tokens, t->count, T, FRAMES, pieces),
        .frames = FRAMES,
        .spoken = spoken,
        .repetitive = repetitive,
        .segment_repetitive = segment_repetitive,
    };
    return verdict(&testimony);
}

static void common_speech_is_fine(void **state)
{
    (void)state;
    struct text t = {0};
    assert_int_equal(judge(&t, NULL, false), VERDICT_FINE);
    segment(&t, 0, 10, 30);
    segment(&t, 10, 12, 8); /* as fast as can be */
    segment(&t, 12, 30, 40);
    assert_int_equal(judge(&t, NULL, false), VERDICT_FINE);
    assert_int_equal(judge(&t, NULL, true), VERDICT_SUSPECT);
    segment_repetitive = true;
    assert_int_equal(judge(&t, NULL, true), VERDICT_LIKELY);
    segment_repetitive = false;
}

static void nobody_speaks_so_fast(void **state)
{
    (void)state;
    struct text t = {0};
    segment(&t, 0, 10, 20);
    segment(&t, 10, 11, 40); /* ten seconds' worth in one */
    assert_int_equal(judge(&t, NULL, false), VERDICT_CERTAIN);

    struct text all = {0};
    for (int i = 0; i < 30; i++)
        segment(&all, i, i + 1, 6); /* each may be, but not all of them */
    assert_int_equal(judge(&all, NULL, false), VERDICT_CERTAIN);
}

static void where_nobody_speaks_nothing_is_said(void **state)
{
    (void)state;
    struct text t = {0};
    int *spoken = mem_array(FRAMES + 1, sizeof(*spoken));
    assert_non_null(spoken);
    segment(&t, 0, 5, 15);
    segment(&t, 5, 25, 60);
    for (int i = 0; i < FRAMES; i++) /* somebody speaks for five seconds */
        spoken[i + 1] = spoken[i] + (i < 500);
    assert_int_equal(judge(&t, NULL, false), VERDICT_FINE);
    assert_int_equal(judge(&t, spoken, false), VERDICT_CERTAIN);
    for (int i = 0; i < FRAMES; i++)
        spoken[i + 1] = i + 1;
    assert_int_equal(judge(&t, spoken, false), VERDICT_FINE);
    free(spoken);
}

static void a_repetition_is_suspect_or_impossible(void **state)
{
    (void)state;
    struct text slow = {0}, fast = {0};
    for (int i = 0; i < 10; i++) { /* the same two seconds' worth ten times in 28 s */
        say(&slow, T + i * 140);
        for (int32_t j = 0; j < 6; j++)
            say(&slow, 10 + j);
        say(&slow, T + i * 140 + 130);
    }
    assert_int_equal(judge(&slow, NULL, false), VERDICT_SUSPECT);
    say(&fast, T);
    for (int i = 0; i < 200; i++)
        say(&fast, 10 + i % 6);
    assert_int_equal(judge(&fast, NULL, false), VERDICT_CERTAIN);
}

static float likeness(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    float x = -1;
    assert_int_equal(verdict_likeness(&special, a, n_a, b, n_b, &x), 0);
    return x;
}

static void texts_are_compared_in_order(void **state)
{
    (void)state;
    const int32_t a[] = {T, 1, 2, 3, 4, T + 50}, b[] = {1, 2, T + 9, T + 9, 3, 4};
    const int32_t c[] = {1, 9, 3, 8, 7, 6, 5, 5}, d[] = {50, 51};
    assert_true(likeness(a, 6, b, 6) == 1); /* times do not count */
    assert_true(likeness(a, 6, c, 8) == 0.25f);
    assert_true(likeness(a, 6, d, 2) == 0);
    assert_true(likeness(a, 1, d, 0) == 1);
    assert_true(likeness(a, 6, d, 0) == 0);
}

static void what_was_said_is_found_in_more(void **state)
{
    (void)state;
    const int32_t a[] = {T, 1, 2, 3, 4, T + 50}, more[] = {9, 1, 2, 8, 3, 7, 6, 5};
    float kept = -1;
    assert_int_equal(verdict_kept(&special, a, 6, more, 8, &kept), 0);
    assert_true(kept == 0.75f);
    assert_int_equal(verdict_kept(&special, more, 8, a, 6, &kept), 0);
    assert_true(kept == 0.375f);
    assert_int_equal(verdict_kept(&special, a, 1, more, 8, &kept), 0);
    assert_true(kept == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_speech_is_fine),
        cmocka_unit_test(nobody_speaks_so_fast),
        cmocka_unit_test(where_nobody_speaks_nothing_is_said),
        cmocka_unit_test(a_repetition_is_suspect_or_impossible),
        cmocka_unit_test(texts_are_compared_in_order),
        cmocka_unit_test(what_was_said_is_found_in_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
