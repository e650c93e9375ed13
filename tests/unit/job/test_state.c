#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../store/store_test.h"
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

/* Bring a new job into a state by the changes that lead there. */
static int make(struct store *s, enum job_status status, char id[ID_SIZE])
{
    struct job j;
    test_store_add(s, 1, "a.wav", id);
    if (status == JOB_PENDING)
        return 0;
    CHECK(store_claim(s, NULL, "owner", 10, 20, &j, e));
    int attempt = j.attempt;
    job_release(&j);
    struct store_result result = {.transcript_json = "{}", .transcript_text = ""};
    if (status == JOB_COMPLETED)
        CHECK(store_complete(s, id, attempt, 30, &result, e));
    if (status == JOB_FAILED)
        CHECK(store_fail(s, id, attempt, 30, "io_error", "reason", e));
    if (status == JOB_CANCELLED)
        CHECK(store_cancel(s, id, 30, e));
    return attempt;
}

static int apply(struct store *s, enum job_change change, const char *id, int attempt)
{
    struct job j;
    struct store_result result = {.transcript_json = "{}", .transcript_text = ""};
    int status;
    switch (change) {
    case JOB_CLAIM:
        status = store_claim(s, NULL, "owner", 10, 20, &j, NULL);
        if (!status)
            job_release(&j);
        return status;
    case JOB_COMPLETE:
        return store_complete(s, id, attempt, 40, &result, NULL);
    case JOB_FAIL:
        return store_fail(s, id, attempt, 40, "io_error", "reason", NULL);
    case JOB_CANCEL:
        return store_cancel(s, id, 40, NULL);
    case JOB_REQUEUE:
        return store_requeue(s, id, attempt, NULL);
    case JOB_RETRY:
        return store_retry(s, id, NULL);
    case JOB_CHANGE_COUNT:
    default:
        return ERR_INVALID;
    }
}

static void the_store_allows_exactly_these(void **state)
{
    (void)state;
    char folder[PATH_MAX], id[ID_SIZE];
    test_folder_make(folder);
    struct store *s = test_store_open(folder);
    for (int from = 0; from < JOB_STATUS_COUNT; from++)
        for (int change = 0; change < JOB_CHANGE_COUNT; change++) {
            int attempt = make(s, (enum job_status)from, id);
            int status = apply(s, (enum job_change)change, id, attempt);
            enum job_status to = (enum job_status)from;
            bool allowed =
                job_state_next((enum job_status)from, (enum job_change)change, &to);
            struct job j;
            CHECK(store_get(s, id, &j, e));
            if (allowed != (status == 0) || j.status != to)
                fail_msg("%s, change %d: %d, then %s", job_status_name(from), change,
                         status, job_status_name(j.status));
            job_release(&j);
            CHECK(store_remove(s, id, e));
        }
    store_close(s);
    test_folder_remove(folder);
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
        cmocka_unit_test(the_store_allows_exactly_these),
        cmocka_unit_test(ended_jobs_are_touched_by_no_worker),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
