/* What the figures of the queue come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/queue_report.h"

#include <math.h>

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9 * (1 + fabs(b));
}

static void nothing_to_do_is_no_wait(void **state)
{
    (void)state;
    struct store_queue_figures f = {0};
    struct queue_estimate q;
    queue_estimate(&f, 0, &q);
    assert_true(q.wait_seconds == 0 && q.speed == 0 && q.at_once == 0);
    f.jobs[JOB_PENDING] = 1; /* how fast it goes is not known */
    queue_estimate(&f, 2, &q);
    assert_true(q.wait_seconds < 0);
    f.recent_audio_seconds = f.recent_work_seconds = 1; /* who does it is not known */
    queue_estimate(&f, 0, &q);
    assert_true(q.wait_seconds < 0);
}

static void lengths_are_guessed_from_bytes(void **state)
{
    (void)state;
    struct store_queue_figures f = {.waiting_seconds = 5, .waiting_bytes = 32000};
    struct queue_estimate q;
    f.running_bytes = 16000;
    queue_estimate(&f, 1, &q);
    assert_true(near(q.waiting_seconds, 7) && near(q.running_seconds, 1));
    f.recent_bytes = 1000; /* of 100 seconds: ten bytes a second */
    f.recent_audio_seconds = 100;
    queue_estimate(&f, 1, &q);
    assert_true(near(q.waiting_seconds, 3205) && near(q.running_seconds, 1600));
}

static void the_wait_is_the_audio_by_speed_and_hands(void **state)
{
    (void)state;
    struct store_queue_figures f = {.waiting_seconds = 900,
                                    .running_seconds = 100,
                                    .recent_audio_seconds = 500,
                                    .recent_work_seconds = 50};
    struct queue_estimate q;
    f.jobs[JOB_PENDING] = 9;
    f.jobs[JOB_PROCESSING] = 1;
    queue_estimate(&f, 4, &q);
    assert_true(near(q.speed, 10) && near(q.wait_seconds, 25));
    f.jobs[JOB_PROCESSING] = 5; /* others are at work as well */
    queue_estimate(&f, 4, &q);
    assert_int_equal(q.at_once, 5);
    assert_true(near(q.wait_seconds, 20));
}

static void a_model_is_missing_when_nobody_has_it(void **state)
{
    (void)state;
    char reason[STRANDED_SIZE], names[] = ",tiny,base.en,,";
    struct stranded st = {.names = names, .anybody = true};
    struct store_queue_figures f = {.models = {{"base", 3}, {"tiny", 2}, {"own", 1}},
                                    .n_models = 3};
    f.jobs[JOB_PENDING] = 6;
    assert_null(stranded_reason(&st, "tiny", reason));
    assert_null(stranded_reason(&st, "base.en", reason));
    assert_non_null(strstr(stranded_reason(&st, "base", reason), "the model base,"));
    assert_int_equal(stranded_count(&st, &f), 4);
    st.all = true; /* a row that was cut may have them */
    assert_int_equal(stranded_count(&st, &f), 0);
    st.anybody = false;
    assert_non_null(strstr(stranded_reason(&st, "tiny", reason), "no worker is alive"));
    assert_int_equal(stranded_count(&st, &f), 6);
}

static void a_job_says_what_it_waits_for(void **state)
{
    (void)state;
    struct store_queue_entry x = {.status = JOB_PENDING, .created_ms = 1000};
    assert_string_equal(queue_entry_state(&x, 5000), "waiting");
    assert_true(queue_entry_waited(&x, 5000) == 4);
    assert_true(queue_entry_waited(&x, 500) == 0); /* a clock that went back */
    x.run_after_ms = 6000;
    assert_string_equal(queue_entry_state(&x, 5000), "delayed");
    x.fetching = true;
    assert_string_equal(queue_entry_state(&x, 5000), "fetching");
    x.status = JOB_PROCESSING;
    x.started_ms = 3000;
    assert_string_equal(queue_entry_state(&x, 5000), "running");
    assert_true(queue_entry_waited(&x, 5000) == 2);
    x.status = JOB_CANCELLED;
    x.started_ms = 0; /* before anybody took it */
    x.completed_ms = 2500;
    assert_string_equal(queue_entry_state(&x, 5000), "cancelled");
    assert_true(queue_entry_waited(&x, 5000) == 1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_do_is_no_wait),
        cmocka_unit_test(lengths_are_guessed_from_bytes),
        cmocka_unit_test(the_wait_is_the_audio_by_speed_and_hands),
        cmocka_unit_test(a_job_says_what_it_waits_for),
        cmocka_unit_test(a_model_is_missing_when_nobody_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
