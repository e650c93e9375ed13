/* Speech into windows: all of it, none twice, none too long, cut at pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/pack.h"
#include "engine/segments.h"

enum { JOIN = 500, MOST = 3000, TOTAL = 60000 };

static uint64_t seed = 88172645463325252u;

static int64_t random_below(int64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int64_t)((seed >> 11) % (uint64_t)n);
}

/* Somebody speaks all the time, but in the pauses that a test makes. */
static void speak(struct speech *s, size_t total)
{
    *s = (struct speech){.source = SPEECH_SILERO, .total_frames = (int64_t)total};
    s->n_probabilities = total * 160 / 512 + 1;
    s->probabilities = mem_array(s->n_probabilities, sizeof(float));
    s->levels = mem_array(total, 1);
    assert_true(s->probabilities && s->levels);
    for (size_t i = 0; i < s->n_probabilities; i++)
        s->probabilities[i] = 0.99f;
    for (size_t i = 0; i < total; i++)
        s->levels[i] = 70;
}

static void fall_silent(struct speech *s, int64_t from, int64_t to)
{
    for (size_t i = 0; i < s->n_probabilities; i++) {
        int64_t frame = (int64_t)(i * 512 / 160);
        if (frame >= from && frame < to)
            s->probabilities[i] = 0.01f;
    }
}

static void build(struct timeline *t, const struct speech_span *spans, size_t n,
                  int64_t total)
{
    struct err e;
    assert_int_equal(timeline_build(t, spans, n, NULL, 0, total, JOIN, &e), 0);
}

struct packed {
    struct window *windows;
    size_t n, capacity;
};

static void pack_as(const struct timeline *t, const struct speech *s, bool few,
                    struct packed *p)
{
    struct err e;
    p->n = 0;
    assert_int_equal(pack_windows(t, s, MOST, few, &p->windows, &p->n, &p->capacity, &e),
                     0);
    int64_t at = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct window *w = &p->windows[i];
        assert_int_equal(w->at, at);
        assert_in_range(w->frames, WINDOW_MIN_FRAMES, MOST);
        assert_true(w->frames <= timeline_to_break(t, at));
        at += w->frames;
    }
    assert_int_equal(at, t->length);
}

static void pack(const struct timeline *t, const struct speech *s, struct packed *p)
{
    pack_as(t, s, true, p);
}

static void whatever_is_said_is_in_one_window(void **state)
{
    (void)state;
    struct timeline t = {0};
    struct packed p = {0};
    struct speech s;
    speak(&s, TOTAL);
    for (int i = 0; i < 300; i++) {
        int64_t at = random_below(TOTAL);
        fall_silent(&s, at, at + random_below(90));
    }
    for (int round = 0; round < 200; round++) {
        struct speech_span spans[8];
        size_t n = 0;
        int64_t at = random_below(2000);
        while (n < ARRAY_LENGTH(spans) && at < TOTAL - 1) {
            int64_t end = at + 1 + random_below(random_below(2) ? 9000 : 900);
            spans[n++] = (struct speech_span){at, end < TOTAL ? end : TOTAL};
            at = end + random_below(1200);
        }
        build(&t, spans, n, TOTAL);
        pack_as(&t, &s, round % 2, &p);
    }
    free(p.windows);
    timeline_release(&t);
    speech_release(&s);
}

static void a_cut_is_in_a_pause(void **state)
{
    (void)state;
    static const struct speech_span all = {0, 6100};
    struct timeline t = {0};
    struct packed p = {0};
    struct speech s;
    speak(&s, 6100);
    fall_silent(&s, 2200, 2230);
    fall_silent(&s, 2500, 2570); /* the longest */
    fall_silent(&s, 2900, 2912);
    fall_silent(&s, 4300, 4330); /* two alike */
    fall_silent(&s, 5100, 5130);
    build(&t, &all, 1, 6100);
    pack(&t, &s, &p);
    assert_int_equal(p.n, 3);
    assert_in_range(p.windows[1].at, 2500, 2570);
    assert_in_range(p.windows[2].at, 5100, 5130);
    free(p.windows);
    timeline_release(&t);
    speech_release(&s);
}

static void a_long_pause_may_count_for_more_than_few_windows(void **state)
{
    (void)state;
    static const struct speech_span all = {0, 5900};
    struct timeline t = {0};
    struct packed p = {0};
    struct speech s;
    speak(&s, 5900);
    fall_silent(&s, 1100, 1200); /* long, but then two more windows are needed */
    fall_silent(&s, 2950, 2980);
    build(&t, &all, 1, 5900);
    pack_as(&t, &s, true, &p);
    assert_int_equal(p.n, 2);
    assert_in_range(p.windows[1].at, 2950, 2980);
    pack_as(&t, &s, false, &p);
    assert_in_range(p.windows[1].at, 1100, 1200);
    free(p.windows);
    timeline_release(&t);
    speech_release(&s);
}

static void a_joint_is_the_best_pause(void **state)
{
    (void)state;
    static const struct speech_span spans[] = {{0, 2300}, {2600, 5000}};
    struct timeline t = {0};
    struct packed p = {0};
    struct speech s;
    speak(&s, 5000);
    fall_silent(&s, 1500, 1590);
    build(&t, spans, 2, 5000);
    pack(&t, &s, &p);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.windows[1].at, 2300);
    free(p.windows);
    timeline_release(&t);
    speech_release(&s);
}

static void without_pauses_the_quietest_place_will_do(void **state)
{
    (void)state;
    static const struct speech_span all = {0, 4000};
    struct timeline t = {0};
    struct speech s;
    speak(&s, 4000);
    for (int i = 0; i < 30; i++)
        s.levels[2600 + i] = 50;
    build(&t, &all, 1, 4000);
    assert_in_range(pack_cut(&t, &s, 1000, 3000), 2600, 2630);
    s.n_probabilities = 0; /* level alone */
    assert_in_range(pack_cut(&t, &s, 1000, 3000), 2600, 2630);
    assert_int_equal(pack_cut(&t, &s, 1700, 1700), 1700);
    timeline_release(&t);
    speech_release(&s);
}

static void nothing_is_no_window(void **state)
{
    (void)state;
    struct timeline t = {0};
    struct packed p = {0};
    struct speech s = {0};
    build(&t, NULL, 0, 1000);
    pack(&t, &s, &p);
    assert_int_equal(p.n, 0);
    timeline_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_is_said_is_in_one_window),
        cmocka_unit_test(a_cut_is_in_a_pause),
        cmocka_unit_test(a_long_pause_may_count_for_more_than_few_windows),
        cmocka_unit_test(a_joint_is_the_best_pause),
        cmocka_unit_test(without_pauses_the_quietest_place_will_do),
        cmocka_unit_test(nothing_is_no_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
