/* The clock that distrusts the wall clock: what is believed, and what is sure, while that
 * jumps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/trust.h"

#define SECOND INT64_C(1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define EPOCH  INT64_C(1780000000000)

/* A machine: `boot` since its start, and the true time; the wall clock is off by `off`.
 */
struct machine {
    struct clock_trust trust;
    struct trust_step step;
    const char *name;
    int64_t boot, truth, off;
};

static void begin(struct machine *m, const char *text)
{
    trust_begin(&m->trust, text, m->name, m->boot, m->truth + m->off);
}

static enum trust_news after(struct machine *m, int64_t ms)
{
    m->boot += ms;
    m->truth += ms;
    m->step = (struct trust_step){0};
    return trust_look(&m->trust, m->boot, m->truth + m->off, &m->step);
}

static int64_t now(const struct machine *m)
{
    return m->boot + m->trust.now_ahead_ms;
}

static int64_t sure(const struct machine *m)
{
    return m->boot + m->trust.sure_ahead_ms;
}

/* One whose clock has had its time to be set. */
static struct machine long_running(void)
{
    struct machine m = {.name = "first", .boot = 3 * DAY, .truth = EPOCH};
    begin(&m, NULL);
    assert_int_equal(after(&m, SECOND), TRUST_SAME);
    assert_int_equal(now(&m), m.truth);
    assert_int_equal(sure(&m), m.truth);
    return m;
}

static void test_a_jump_does_not_count_and_is_told_of_once(void **state)
{
    (void)state;
    static const int64_t jumps[] = {5 * HOUR, -5 * HOUR, 40 * DAY, -40 * DAY, 6 * SECOND};
    struct machine m = long_running();
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        m.off = jumps[i];
        assert_int_equal(after(&m, SECOND), TRUST_PARTED);
        assert_int_equal(m.step.by_ms, jumps[i]);
        for (int k = 0; k < 50; k++) {
            assert_int_equal(after(&m, 60 * SECOND), TRUST_SAME);
            assert_int_equal(now(&m), m.truth);
            assert_int_equal(sure(&m), m.truth);
        }
        m.off = 0;
        assert_int_equal(after(&m, SECOND), TRUST_AGAIN);
        assert_int_equal(after(&m, SECOND), TRUST_SAME);
        assert_int_equal(now(&m), m.truth);
    }
}

static void test_one_jump_after_the_other_does_not_add_up_to_an_hour(void **state)
{
    (void)state;
    struct machine m = long_running();
    for (int k = 1; k < 10; k++) {
        m.off = k * 7 * HOUR * (k % 2 ? 1 : -1);
        assert_int_equal(after(&m, SECOND), TRUST_PARTED);
        assert_int_equal(after(&m, HOUR - 2 * SECOND), TRUST_SAME);
        assert_int_equal(now(&m), m.truth);
    }
}

static void test_small_steps_are_followed(void **state)
{
    (void)state;
    struct machine m = long_running();
    for (int k = 0; k < 10; k++) {
        m.off += k % 3 ? 3 * SECOND : -4 * SECOND;
        assert_int_equal(after(&m, 5 * SECOND), TRUST_SAME);
        assert_int_equal(now(&m), m.truth + m.off);
        assert_int_equal(sure(&m), m.truth + m.off);
    }
}

/* A virtual machine that was paused: what was before the jump stays where it is. */
static void test_what_stands_for_an_hour_is_believed(void **state)
{
    (void)state;
    static const int64_t jumps[] = {8 * HOUR, -8 * HOUR};
    for (size_t i = 0; i < 2; i++) {
        struct machine m = long_running();
        m.off = jumps[i];
        (void)after(&m, SECOND);
        int64_t noticed = m.truth;
        assert_int_equal(after(&m, HOUR - SECOND), TRUST_SAME);
        assert_int_equal(now(&m), m.truth);
        assert_int_equal(after(&m, SECOND), TRUST_STEP);
        assert_int_equal(m.step.by_ms, jumps[i]);
        assert_int_equal(m.step.since_ms, noticed);
        assert_int_equal(now(&m), m.truth + m.off);
        assert_int_equal(sure(&m), m.truth + m.off);
        assert_int_equal(after(&m, SECOND), TRUST_SAME);
    }
}

/* Off for two days; the clock begins where it ended, or in 1970, and is set after a
 * minute. */
static void test_a_machine_without_a_battery(void **state)
{
    (void)state;
    static const int64_t offs[] = {-2 * DAY, -EPOCH};
    char text[TRUST_TEXT_SIZE];
    struct machine old = long_running();
    for (size_t i = 0; i < 2; i++) {
        struct machine m = {.name = "second",
                            .boot = 20 * SECOND,
                            .truth = old.truth + 2 * DAY,
                            .off = offs[i]};
        begin(&m, trust_write(&old.trust, old.boot, text));
        int64_t begun = now(&m);
        assert_int_equal(begun, old.truth);
        enum trust_news news = after(&m, SECOND);
        assert_int_equal(news, i ? TRUST_PARTED : TRUST_SAME);
        /* The first hour has no time that is sure, so a clock that is set counts. */
        m.off = 0;
        assert_int_equal(after(&m, 60 * SECOND), TRUST_STEP);
        assert_int_equal(m.step.since_ms, begun);
        assert_int_equal(m.step.by_ms, 2 * DAY);
        assert_int_equal(now(&m), m.truth);
        /* But nothing is deleted by it yet. */
        assert_int_equal(sure(&m), old.truth + 61 * SECOND);
        assert_int_equal(after(&m, HOUR - SECOND), TRUST_SAME);
        assert_int_equal(after(&m, SECOND), TRUST_CERTAIN);
        assert_int_equal(sure(&m), m.truth);
    }
}

/* It starts with a clock that is forty days ahead, which is put right after half an hour.
 */
static void test_a_start_with_a_wrong_clock_deletes_nothing(void **state)
{
    (void)state;
    char text[TRUST_TEXT_SIZE];
    struct machine old = long_running(), m = {.name = "second", .boot = 20 * SECOND};
    m.truth = old.truth + HOUR;
    m.off = 40 * DAY;
    begin(&m, trust_write(&old.trust, old.boot, text));
    assert_int_equal(now(&m), m.truth + 40 * DAY);
    assert_int_equal(sure(&m), old.truth);
    (void)after(&m, HOUR / 2);
    assert_int_equal(sure(&m), old.truth + HOUR / 2);
    m.off = 0;
    assert_int_equal(after(&m, SECOND), TRUST_PARTED);
    for (int k = 0; k < 59; k++)
        assert_int_equal(after(&m, 60 * SECOND), TRUST_SAME);
    assert_true(sure(&m) <= m.truth);
    assert_int_equal(after(&m, 61 * SECOND), TRUST_STEP);
    assert_int_equal(m.step.by_ms, -40 * DAY);
    assert_int_equal(now(&m), m.truth);
    assert_int_equal(sure(&m), m.truth);
}

static void test_a_service_that_starts_again_is_not_taken_in(void **state)
{
    (void)state;
    char text[TRUST_TEXT_SIZE];
    struct machine m = long_running();
    m.off = 40 * DAY;
    for (int k = 0; k < 3; k++) {
        (void)trust_write(&m.trust, m.boot, text);
        m.boot += 30 * SECOND;
        m.truth += 30 * SECOND;
        begin(&m, text);
        assert_int_equal(now(&m), m.truth);
        assert_int_equal(sure(&m), m.truth);
        assert_int_equal(after(&m, SECOND), TRUST_PARTED);
        assert_int_equal(now(&m), m.truth);
    }
    m.off = 0;
    assert_int_equal(after(&m, SECOND), TRUST_AGAIN);
}

static void test_without_anything_to_go_by_the_wall_clock_counts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        NULL,
        "",
        " ",
        "first",
        "first 1 2 3 4",
        "first 1 2 3 4 5 6",
        "first 1 2 3 4 5x",
        "first 99999999999999999999 0 0 0 0",
        "first a b c d e",
        "a-name-that-is-longer-than-any-that-can-be 1 2 3 4 5"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct machine m = {.name = "first", .boot = DAY, .truth = EPOCH};
        begin(&m, texts[i]);
        assert_int_equal(now(&m), EPOCH);
        assert_int_equal(sure(&m), EPOCH);
    }
    /* Where the start of the machine has no name, it is another one each time. */
    char text[TRUST_TEXT_SIZE];
    struct machine old = long_running(),
                   m = {.name = "", .boot = 5, .truth = EPOCH + DAY};
    begin(&m, NULL);
    old.trust = m.trust;
    begin(&m, trust_write(&old.trust, m.boot, text));
    assert_int_equal(now(&m), EPOCH + DAY);
}

/* In a container the time since the start may be another one after all. */
static void test_a_time_since_the_start_that_went_back(void **state)
{
    (void)state;
    char text[TRUST_TEXT_SIZE];
    struct machine old = long_running(), m = {.name = "first", .boot = 2 * HOUR};
    m.truth = old.truth + DAY;
    begin(&m, trust_write(&old.trust, old.boot, text));
    assert_int_equal(now(&m), m.truth);
}

static void test_the_agreed_time(void **state)
{
    (void)state;
    assert_in_range(clock_now_ms() - clock_wall_ms() + 1000, 0, 2000);
    int64_t ahead = clock_wall_ms() - clock_boot_ms();
    clock_agree(ahead + DAY, ahead);
    assert_in_range(clock_now_ms() - clock_wall_ms() - DAY + 1000, 0, 2000);
    assert_in_range(clock_sure_ms() - clock_wall_ms() + 1000, 0, 2000);
    int64_t lease = clock_lease_ms();
    clock_agree(ahead - DAY, ahead - DAY);
    assert_in_range(clock_lease_ms() - lease, 0, 2000); /* no step is seen in it */
    clock_agree_server(ahead + HOUR);
    assert_in_range(clock_lease_ms() - clock_wall_ms() - HOUR + 1000, 0, 2000);
    assert_in_range(clock_sure_ms() - clock_wall_ms() - HOUR + 1000, 0, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_jump_does_not_count_and_is_told_of_once),
        cmocka_unit_test(test_one_jump_after_the_other_does_not_add_up_to_an_hour),
        cmocka_unit_test(test_small_steps_are_followed),
        cmocka_unit_test(test_what_stands_for_an_hour_is_believed),
        cmocka_unit_test(test_a_machine_without_a_battery),
        cmocka_unit_test(test_a_start_with_a_wrong_clock_deletes_nothing),
        cmocka_unit_test(test_a_service_that_starts_again_is_not_taken_in),
        cmocka_unit_test(test_without_anything_to_go_by_the_wall_clock_counts),
        cmocka_unit_test(test_a_time_since_the_start_that_went_back),
        cmocka_unit_test(test_the_agreed_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
