/* Repetitions: found whatever their length, with and without timestamps; and those that
 * a speaker can have said are told from those that nobody can. A made-up vocabulary:
 * token i < 20 is "wordword" … of i letters; 20 end-of-text; 30 … timestamps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/loop.h"

#include <math.h>

enum { EOT = 20, BEGIN = 30, VOCAB = BEGIN + 1501 };

static const struct special_tokens special = {.eot = EOT, .timestamp_begin = BEGIN};
static uint8_t *paces;

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *length)
{
    (void)t;
    static const char *const signs[] = {"\xe4\xbd\xa0", "\xe0\xb8\x81", "\xb8", ", ",
                                        "42"};
    if (id < EOT) {
        *length = (size_t)id;
        return "aaaaaaaaaaaaaaaaaaaaaaaa";
    }
    const char *piece = id < EOT + 5 ? signs[id - EOT] : "";
    *length = strlen(piece);
    return piece;
}

static int set_up(void **state)
{
    (void)state;
    paces = loop_paces(NULL, VOCAB);
    return paces ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(paces);
    return 0;
}

struct said {
    int32_t tokens[600];
    size_t count;
};

static void say(struct said *x, const int32_t *tokens, size_t n)
{
    memcpy(x->tokens + x->count, tokens, n * sizeof(*tokens));
    x->count += n;
}

static void say_stamp(struct said *x, double seconds)
{
    x->tokens[x->count++] = BEGIN + (int32_t)lround(seconds * 50);
}

static struct loop find(const struct said *x, float seconds)
{
    return loop_find(&special, paces, x->tokens, x->count, seconds);
}

static const int32_t sentence[] = {4, 5, 3, 6, 2, 5}; /* 25 letters: a second */

static void paces_are_those_of_the_letters(void **state)
{
    (void)state;
    assert_int_equal(paces[0], 0);
    assert_int_equal(paces[5], 20);
    assert_int_equal(paces[EOT], 12);     /* a Chinese character */
    assert_int_equal(paces[EOT + 1], 4);  /* a Thai letter */
    assert_int_equal(paces[EOT + 2], 0);  /* the rest of one */
    assert_int_equal(paces[EOT + 3], 4);  /* a comma and a space */
    assert_int_equal(paces[EOT + 4], 20); /* two digits */
    assert_int_equal(paces[BEGIN], 0);
}

static void periods_are_found(void **state)
{
    (void)state;
    for (size_t period = 1; period <= LOOP_MAX_PERIOD; period++) {
        struct said x = {{BEGIN, 1, 2, 3}, 4};
        int32_t unit[LOOP_MAX_PERIOD];
        for (size_t i = 0; i < period; i++)
            unit[i] = i == 0 ? 19 : (int32_t)(4 + i % 14);
        for (int i = 0; i < 5; i++)
            say(&x, unit, period);
        struct loop l = find(&x, 30);
        assert_int_equal(l.period, period);
        assert_int_equal(l.repeats, 5);
        assert_int_equal(l.first, 4);
        /* The beginning of a sixth changes nothing. */
        say(&x, unit, period - 1);
        l = find(&x, 30);
        assert_int_equal(l.period, period);
        assert_int_equal(l.repeats, 5);
        /* Something else at the end is no repetition of it. */
        const int32_t other[] = {17, 18};
        say(&x, other, 2);
        assert_int_equal(find(&x, 30).period, 0);
    }
    const struct said none = {{BEGIN, 1, 2, 3, 4, 5}, 6}, empty = {{0}, 0};
    assert_int_equal(find(&none, 30).period, 0);
    assert_int_equal(find(&empty, 30).period, 0);
}

static void timestamps_between_do_not_hide_it(void **state)
{
    (void)state;
    struct said x = {{0}, 0};
    for (int i = 0; i < 6; i++) {
        say_stamp(&x, 2 * i);
        say(&x, sentence, ARRAY_LENGTH(sentence));
        say_stamp(&x, 2 * i + 2);
    }
    struct loop l = find(&x, 30);
    assert_int_equal(l.period, ARRAY_LENGTH(sentence));
    assert_int_equal(l.repeats, 6);
    assert_int_equal(l.first, 1);
    assert_true(fabsf(l.seconds - 12) < 1e-4f);
    assert_true(fabsf(l.needed_seconds - 6) < 1e-4f);
    x.count--; /* not closed: it may go on to the end of the window */
    assert_true(fabsf(find(&x, 30).seconds - 30) < 1e-4f);
    assert_true(fabsf(find(&x, 15).seconds - 15) < 1e-4f);
}

/* How often can the sentence be said before it is a loop? */
static int most(float window_seconds, double stamp_every)
{
    struct said x = {{0}, 0};
    if (stamp_every <= 0)
        say_stamp(&x, 0);
    for (int i = 0; i < 60; i++) {
        if (stamp_every > 0)
            say_stamp(&x, i * stamp_every);
        say(&x, sentence, ARRAY_LENGTH(sentence));
        if (stamp_every > 0)
            say_stamp(&x, (i + 1) * stamp_every);
        struct loop l = find(&x, window_seconds);
        if (loop_is_impossible(&l))
            return i + 1;
    }
    return 0;
}

static void a_speaker_who_repeats_himself_is_believed(void **state)
{
    (void)state;
    /* A sentence of a second every second, and slower ones. */
    for (double every = 1; every < 6; every += 0.5) {
        struct said x = {{0}, 0};
        for (int i = 0; (i + 1) * every <= 30; i++) {
            say_stamp(&x, i * every);
            say(&x, sentence, ARRAY_LENGTH(sentence));
            struct loop l = find(&x, 30);
            assert_false(loop_is_impossible(&l));
            say_stamp(&x, (i + 1) * every);
            l = find(&x, 30);
            assert_false(loop_is_impossible(&l));
        }
    }
    /* The same without times between. */
    assert_int_equal(most(30, 0), 32);
    assert_int_equal(most(10, 0), 12);
    /* A single short word, four times a second. */
    struct said x = {{BEGIN}, 1};
    const int32_t no = 2;
    for (int i = 0; i < 120; i++) {
        say(&x, &no, 1);
        struct loop l = find(&x, 30);
        assert_false(loop_is_impossible(&l));
    }
}

static void what_nobody_can_say_is_a_loop(void **state)
{
    (void)state;
    /* Times that hardly move on. */
    assert_int_equal(most(30, 0.02), 5);
    assert_int_equal(most(30, 0.5), 5);
    /* The end of a window: after 28 s, 3 more cannot come, but 5 must prove it. */
    struct said x = {{0}, 0};
    say_stamp(&x, 28);
    int said = 0;
    struct loop l;
    do {
        say(&x, sentence, ARRAY_LENGTH(sentence));
        said++;
        l = find(&x, 30);
    } while (!loop_is_impossible(&l));
    assert_int_equal(said, 5);
    /* What came before the loop does not count for it. */
    struct said late = {{0}, 0};
    say_stamp(&late, 0);
    const int32_t others[] = {1, 9, 2, 8, 3, 7};
    say(&late, others, ARRAY_LENGTH(others));
    say_stamp(&late, 25);
    say_stamp(&late, 25);
    for (int i = 0; i < 8; i++)
        say(&late, sentence, ARRAY_LENGTH(sentence));
    l = find(&late, 30);
    assert_int_equal(l.repeats, 8);
    assert_true(loop_is_impossible(&l));
}

static void long_texts_are_read_from_their_end(void **state)
{
    (void)state;
    struct said x = {{0}, 0};
    for (int i = 0; i < 90; i++)
        say(&x, sentence, ARRAY_LENGTH(sentence));
    assert_true(x.count > 512);
    struct loop l = find(&x, 30);
    assert_int_equal(l.period, ARRAY_LENGTH(sentence));
    assert_int_equal(l.first, x.count - 512);
    assert_true(loop_is_impossible(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paces_are_those_of_the_letters),
        cmocka_unit_test(periods_are_found),
        cmocka_unit_test(timestamps_between_do_not_hide_it),
        cmocka_unit_test(a_speaker_who_repeats_himself_is_believed),
        cmocka_unit_test(what_nobody_can_say_is_a_loop),
        cmocka_unit_test(long_texts_are_read_from_their_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
