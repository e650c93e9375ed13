#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/threads.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define MOST 9

struct count {
    _Atomic int calls[MOST];
    _Atomic int sizes;
};

static void count_call(void *arg, int index, int size)
{
    struct count *c = arg;
    atomic_fetch_add(&c->calls[index], 1);
    atomic_fetch_add(&c->sizes, size);
}

static struct pool *open_pool(int threads)
{
    struct pool *p;
    struct err e = {0};
    if (pool_new(&p, threads, &e))
        fail_msg("%s", e.message);
    return p;
}

static void every_thread_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST; threads += 2) {
        struct pool *p = open_pool(threads);
        assert_int_equal(pool_size(p), threads);
        struct count c = {0};
        for (int run = 0; run < 200; run++)
            pool_run(p, count_call, &c);
        for (int i = 0; i < MOST; i++)
            assert_int_equal(c.calls[i], i < threads ? 200 : 0);
        assert_int_equal(c.sizes, 200 * threads * threads);
        pool_free(p);
    }
}

/* Workers that sleep must be woken. */
static void sleepers_wake(void **state)
{
    (void)state;
    struct pool *p = open_pool(4);
    struct count c = {0};
    for (int run = 0; run < 5; run++) {
        usleep(3000);
        pool_run(p, count_call, &c);
    }
    assert_int_equal(c.sizes, 5 * 4 * 4);
    usleep(3000);
    pool_free(p);
}

static void count_task(void *arg, int task, int thread)
{
    struct count *c = arg;
    (void)thread;
    atomic_fetch_add(&c->calls[task % MOST], task + 1);
}

static void every_task_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads += 2) {
        struct pool *p = open_pool(threads);
        for (int count = 0; count < 100; count += 9) {
            struct count c = {0};
            pool_each(p, count, count_task, &c);
            int sum = 0;
            for (int i = 0; i < MOST; i++)
                sum += c.calls[i];
            assert_int_equal(sum, count * (count + 1) / 2);
        }
        pool_free(p);
    }
}

struct relay {
    struct pool *pool;
    int values[MOST]; /* plain: the barrier is what orders them */
    _Atomic int wrong;
};

/* Each phase, a thread reads what its neighbour wrote in the phase before. */
static void relay_run(void *arg, int index, int size)
{
    struct relay *r = arg;
    for (int phase = 0; phase < 100; phase++) {
        r->values[index] = phase;
        pool_barrier(r->pool);
        if (r->values[(index + 1) % size] != phase)
            atomic_fetch_add(&r->wrong, 1);
        pool_barrier(r->pool);
    }
}

static void barrier_orders(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST; threads += 2) {
        struct relay r = {.pool = open_pool(threads)};
        for (int run = 0; run < 5; run++)
            pool_run(r.pool, relay_run, &r);
        assert_int_equal(r.wrong, 0);
        pool_free(r.pool);
    }
}

/* What one call wrote, plainly, the next one reads on another thread. */
static void shift_run(void *arg, int index, int size)
{
    int(*values)[2][MOST] = arg;
    (*values)[1][index] = (*values)[0][(index + 1) % size] + 1;
}

static void calls_are_ordered(void **state)
{
    (void)state;
    struct pool *p = open_pool(5);
    int values[2][MOST] = {{0}};
    for (int run = 1; run <= 300; run++) {
        pool_run(p, shift_run, &values);
        for (int i = 0; i < 5; i++)
            assert_int_equal(values[1][i], run);
        memcpy(values[0], values[1], sizeof values[0]);
    }
    pool_free(p);
}

static void sizes_are_checked(void **state)
{
    (void)state;
    struct pool *p = NULL;
    struct err e = {0};
    assert_int_equal(pool_new(&p, -1, &e), ERR_INVALID);
    assert_int_equal(pool_new(&p, 100000, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "100000"));
    pool_free(NULL);
    p = open_pool(0);
    assert_int_equal(pool_size(p), threads_available());
    pool_free(p);
}

static void affinity_counts(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int all = threads_available();
    assert_in_range(all, 1, CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(threads_available(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(threads_available(), all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_once), cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(every_task_runs_once),   cmocka_unit_test(barrier_orders),
        cmocka_unit_test(calls_are_ordered),      cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(affinity_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
