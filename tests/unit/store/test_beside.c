/* Work that others do beside one's own: each is done once, whoever does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/beside.h"

#include <stdatomic.h>
#include <stdbool.h>

#define OWNERS 8
#define TIMES  2000

struct job {
    atomic_int begun, done;
    atomic_bool held; /* until the test lets it go on */
    pthread_t by;
};

static void work(void *arg)
{
    struct job *j = arg;
    j->by = pthread_self();
    atomic_fetch_add(&j->begun, 1);
    while (atomic_load(&j->held))
        sched_yield();
    atomic_fetch_add(&j->done, 1);
}

static void await_begin(struct job *j)
{
    while (!atomic_load(&j->begun))
        sched_yield();
}

static void without_threads_its_owner_works(void **state)
{
    (void)state;
    struct beside *b = beside_new(0);
    struct beside_work w;
    struct job j = {0};
    assert_non_null(b);
    beside_begin(b, &w, work, &j);
    assert_int_equal(j.begun, 0);
    beside_end(b, &w);
    assert_int_equal(j.done, 1);
    assert_true(pthread_equal(j.by, pthread_self()));
    beside_free(b);
}

static void a_thread_works_beside(void **state)
{
    (void)state;
    struct beside *b = beside_new(1);
    assert_non_null(b);
    for (int i = 0; i < 100; i++) { /* the same one each time */
        struct beside_work w;
        struct job j = {0};
        beside_begin(b, &w, work, &j);
        await_begin(&j);
        beside_end(b, &w);
        assert_int_equal(j.begun, 1);
        assert_int_equal(j.done, 1);
        assert_false(pthread_equal(j.by, pthread_self()));
    }
    beside_free(b);
}

static void who_finds_nobody_free_works_alone(void **state)
{
    (void)state;
    struct beside *b = beside_new(1);
    struct beside_work first, second;
    struct job long_one = {.held = true}, j = {0};
    assert_non_null(b);
    beside_begin(b, &first, work, &long_one);
    await_begin(&long_one);
    beside_begin(b, &second, work, &j);
    beside_end(b, &second); /* would wait for ever in a line */
    assert_int_equal(j.done, 1);
    assert_true(pthread_equal(j.by, pthread_self()));
    assert_int_equal(long_one.done, 0);
    atomic_store(&long_one.held, false);
    beside_end(b, &first);
    assert_int_equal(long_one.done, 1);
    beside_free(b);
}

static void *own_work(void *arg)
{
    struct beside *b = arg;
    for (int i = 0; i < TIMES; i++) {
        struct beside_work w;
        struct job j = {0};
        beside_begin(b, &w, work, &j);
        if (i % 3 == 0)
            sched_yield();
        beside_end(b, &w);
        if (j.begun != 1 || j.done != 1)
            return arg;
    }
    return NULL;
}

static void each_work_is_done_once(void **state)
{
    (void)state;
    struct beside *b = beside_new(3);
    pthread_t owners[OWNERS];
    assert_non_null(b);
    for (int i = 0; i < OWNERS; i++)
        assert_int_equal(pthread_create(&owners[i], NULL, own_work, b), 0);
    for (int i = 0; i < OWNERS; i++) {
        void *bad;
        assert_int_equal(pthread_join(owners[i], &bad), 0);
        assert_null(bad);
    }
    beside_free(b);
    beside_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_threads_its_owner_works),
        cmocka_unit_test(a_thread_works_beside),
        cmocka_unit_test(who_finds_nobody_free_works_alone),
        cmocka_unit_test(each_work_is_done_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
