#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/meter.h"

#include <stdio.h>
#include <string.h>

static struct meter meter;
static struct meter_figures figures;

static int begin(void **state)
{
    (void)state;
    meter_init(&meter);
    return 0;
}

static int end(void **state)
{
    (void)state;
    meter_release(&meter);
    return 0;
}

static void close_to(double is, double wanted)
{
    assert_true(is > wanted - 1e-9 && is < wanted + 1e-9);
}

/* It holds hostile media: what it says of its own time must not spoil the sums. */
static void a_worker_is_not_believed_everything(void **state)
{
    (void)state;
    const struct transcribe_times times = {
        .load = 1e300, .decode = 1, .engine = {.encoder = 4, .decoder = 11}};
    meter_worked(&meter, &times, 60, 10, 0.5);
    meter_worked(&meter, &times, -5, 10, 0.5);
    meter_read(&meter, &figures);
    close_to(figures.stages[METER_LOAD], 20);
    close_to(figures.stages[METER_DECODE], 2);
    close_to(figures.stages[METER_ENCODER], 8);
    close_to(figures.stages[METER_DECODER], 20);
    close_to(figures.stages[METER_SAVE], 1);
    close_to(figures.work_seconds, 20);
    close_to(figures.audio_seconds, 60);
}

static void only_what_has_ended_counts(void **state)
{
    (void)state;
    char code[] = "corrupt";
    struct job j = {.status = JOB_PENDING, .attempt = 1};
    meter_ended(&meter, &j);
    j.status = JOB_PROCESSING;
    meter_ended(&meter, &j);
    j.status = JOB_COMPLETED;
    j.started_ms = 1000;
    j.completed_ms = 1300;
    meter_ended(&meter, &j);
    j.status = JOB_FAILED;
    j.error_code = code;
    meter_ended(&meter, &j);
    meter_ended(&meter, &j);
    j.error_code = NULL;
    meter_ended(&meter, &j);
    meter_read(&meter, &figures);
    assert_int_equal(figures.ended[JOB_PENDING] + figures.ended[JOB_PROCESSING], 0);
    assert_int_equal(figures.ended[JOB_COMPLETED], 1);
    assert_int_equal(figures.ended[JOB_FAILED], 3);
    assert_int_equal(figures.n_failed, 2);
    assert_string_equal(figures.failed[0].reason, "corrupt");
    assert_int_equal(figures.failed[0].count, 2);
    assert_string_equal(figures.failed[1].reason, "unknown");
    assert_int_equal(figures.took.count, 1);
    assert_int_equal(figures.took.times[1], 1); /* above 0.1, not above 0.5 */
}

static void there_is_an_end_of_reasons(void **state)
{
    (void)state;
    char code[32];
    struct job j = {.status = JOB_FAILED, .error_code = code};
    for (int i = 0; i < 2 * METER_REASONS; i++) {
        (void)snprintf(code, sizeof code, "reason_%d", i);
        meter_ended(&meter, &j);
    }
    meter_read(&meter, &figures);
    assert_int_equal(figures.n_failed, METER_REASONS);
    assert_int_equal(figures.ended[JOB_FAILED], 2 * METER_REASONS);
}

/* A clock that was set back in between says nothing. */
static void waiting_is_counted_once(void **state)
{
    (void)state;
    struct job j = {.attempt = 1, .created_ms = 5000, .started_ms = 4000};
    meter_begun(&meter, &j);
    j.attempt = 2;
    meter_begun(&meter, &j);
    meter_read(&meter, &figures);
    assert_int_equal(figures.waited.count, 1);
    assert_int_equal(figures.waited.times[0], 1);
    close_to(figures.waited.seconds, 0);
}

static void everything_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < METER_STAGES; i++)
        assert_non_null(meter_stage_name((enum meter_stage)i));
    for (int i = 0; i < METER_ATTEMPTS; i++)
        assert_non_null(meter_attempt_name((enum meter_attempt)i));
    for (int i = 0; i < METER_DEATHS; i++)
        assert_non_null(meter_death_name((enum meter_death)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_worker_is_not_believed_everything, begin, end),
        cmocka_unit_test_setup_teardown(only_what_has_ended_counts, begin, end),
        cmocka_unit_test_setup_teardown(there_is_an_end_of_reasons, begin, end),
        cmocka_unit_test_setup_teardown(waiting_is_counted_once, begin, end),
        cmocka_unit_test(everything_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
