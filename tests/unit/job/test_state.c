#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/state.h"

/* Rows: from; columns: claim, complete, fail, cancel, requeue, retry. -1: not allowed. */
static const int table[JOB_STATUS_COUNT][JOB_CHANGE_COUNT] = {
    [JOB_PENDING] = {JOB_PROCESSING, -1, -1, JOB_CANCELLED, -1, -1},
    [JOB_PROCESSING] = {-1, JOB_COMPLETED, JOB_FAILED, JOB_CANCELLED, JOB_PENDING, -1},
    [JOB_COMPLETED] = {-1, -1, -1, -1, -1, -1},
    [JOB_FAILED] = {-1, -1, -1, -1, -1, JOB_PENDING},
    [JOB_CANCELLED] = {-1, -1, -1, -1, -1, JOB_PENDING},
};

static void every_transition_is_as_drawn(void **state)
{
    (void)state;
    for (int from = 0; from < JOB_STATUS_COUNT; from++)
        for (int change = 0; change < JOB_CHANGE_COUNT; change++) {
            enum job_status to = JOB_STATUS_COUNT;
            bool allowed =
                job_state_next((enum job_status)from, (enum job_change)change, &to);
            assert_int_equal(allowed, table[from][change] >= 0);
            assert_int_equal(to, allowed ? table[from][change] : JOB_STATUS_COUNT);
        }
}

static void ended_jobs_are_touched_by_no_worker(void **state)
{
    (void)state;
    for (int s = 0; s < JOB_STATUS_COUNT; s++) {
        enum job_status to;
        bool live = job_state_next((enum job_status)s, JOB_CLAIM, &to) ||
                    job_state_next((enum job_status)s, JOB_COMPLETE, &to);
        assert_int_equal(job_state_ended((enum job_status)s), !live);
    }
}

static void names_go_both_ways(void **state)
{
    (void)state;
    enum job_status s;
    for (int i = 0; i < JOB_STATUS_COUNT; i++) {
        assert_true(job_status_parse(job_status_name((enum job_status)i), &s));
        assert_int_equal(s, i);
    }
    assert_false(job_status_parse("done", &s));
    assert_false(job_status_parse("", &s));
    assert_false(job_status_parse(NULL, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transition_is_as_drawn),
        cmocka_unit_test(ended_jobs_are_touched_by_no_worker),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
