#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "http/peers.h"
#include "http/pool.h"
#include "http/waiter.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

static void sleep_ms(int ms)
{
    usleep((unsigned)ms * 1000);
}

/* ---- the pool -----------------------------------------------------------------------
 */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_int ran, at_once, most_at_once;

static void run(struct http_task *task)
{
    (void)task;
    int now = atomic_fetch_add(&at_once, 1) + 1;
    int most = atomic_load(&most_at_once);
    while (now > most && !atomic_compare_exchange_weak(&most_at_once, &most, now))
        ;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    atomic_fetch_sub(&at_once, 1);
    atomic_fetch_add(&ran, 1);
}

static void does_everything_with_few_threads(void **state)
{
    (void)state;
    enum { TASKS = 40, THREADS = 4, LINE = 10 };
    struct http_task tasks[TASKS];
    struct http_pool *p;
    struct err e;
    ran = at_once = most_at_once = 0;
    assert_int_equal(http_pool_new(&p, THREADS, LINE, &e), 0);
    pthread_mutex_lock(&gate);
    assert_false(http_pool_full(p));
    for (int i = 0; i < TASKS; i++) {
        tasks[i].run = run;
        http_pool_add(p, &tasks[i]);
    }
    assert_true(http_pool_full(p));
    while (atomic_load(&at_once) < THREADS)
        sleep_ms(1);
    sleep_ms(20);
    assert_int_equal(most_at_once, THREADS);
    assert_int_equal(ran, 0);
    pthread_mutex_unlock(&gate);
    http_pool_free(p); /* does what still waits */
    assert_int_equal(ran, TASKS);
    assert_int_equal(most_at_once, THREADS);
}

/* ---- the waiter ---------------------------------------------------------------------
 */

struct seen {
    struct http_wait wait;
    atomic_int times[4];
};

static void fire(struct http_wait *wait, enum http_wait_end why)
{
    struct seen *s = (struct seen *)((char *)wait - offsetof(struct seen, wait));
    atomic_fetch_add(&s->times[why], 1);
}

static void wait_for(const atomic_int *value)
{
    for (int i = 0; i < 2000 && !atomic_load(value); i++)
        sleep_ms(1);
    assert_int_equal(atomic_load(value), 1);
}

static void tells_of_time_and_of_hanging_up(void **state)
{
    (void)state;
    struct http_waiter *w;
    struct err e;
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    assert_int_equal(http_waiter_new(&w, &e), 0);
    struct seen stays = {.wait = {.fd = a[0], .fire = fire}};
    struct seen goes = {.wait = {.fd = b[0], .fire = fire}};
    struct seen timed = {.wait = {.fd = -1, .fire = fire}};
    struct seen removed = {.wait = {.fd = -1, .fire = fire}};
    int64_t begun = clock_monotonic_ns();
    timed.wait.deadline_ns = begun + 30000000;
    removed.wait.deadline_ns = begun + 10000000;
    http_waiter_add(w, &stays.wait);
    http_waiter_add(w, &goes.wait);
    http_waiter_add(w, &timed.wait);
    http_waiter_add(w, &removed.wait);
    http_waiter_remove(w, &removed.wait);
    http_waiter_remove(w, &removed.wait); /* once is enough */
    close(b[1]);
    wait_for(&goes.times[HTTP_WAIT_GONE]);
    wait_for(&timed.times[HTTP_WAIT_TIME]);
    assert_true(clock_monotonic_ns() - begun >= 30000000);
    assert_int_equal(removed.times[HTTP_WAIT_TIME], 0);
    assert_int_equal(stays.times[HTTP_WAIT_GONE], 0);
    http_waiter_end(w, HTTP_WAIT_STOPPING);
    assert_int_equal(stays.times[HTTP_WAIT_STOPPING], 1);
    struct seen late = {.wait = {.fd = -1, .fire = fire}};
    http_waiter_add(w, &late.wait);
    assert_int_equal(late.times[HTTP_WAIT_STOPPING], 1);
    http_waiter_free(w);
    close(a[0]);
    close(a[1]);
    close(b[0]);
}

static void does_not_mistake_a_descriptor_that_is_used_again(void **state)
{
    (void)state;
    struct http_waiter *w;
    struct err e;
    assert_int_equal(http_waiter_new(&w, &e), 0);
    for (int i = 0; i < 200; i++) {
        int a[2], b[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
        struct seen first = {.wait = {.fd = a[0], .fire = fire}};
        http_waiter_add(w, &first.wait);
        close(a[1]);
        http_waiter_remove(w, &first.wait);
        close(a[0]);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
        struct seen second = {.wait = {.fd = b[0], .fire = fire}};
        http_waiter_add(w, &second.wait);
        http_waiter_remove(w, &second.wait);
        assert_int_equal(second.times[HTTP_WAIT_GONE], 0);
        close(b[0]);
        close(b[1]);
    }
    http_waiter_free(w);
}

/* ---- the peers ----------------------------------------------------------------------
 */

static void counts_who_is_there(void **state)
{
    (void)state;
    struct http_peers *p = http_peers_new();
    struct http_address a, b, c;
    assert_true(http_address_parse("192.0.2.1", &a));
    assert_true(http_address_parse("2001:db8::1", &b));
    assert_true(http_address_parse("2001:db8::2:3", &c));
    http_peers_add(p, &a);
    http_peers_add(p, &a);
    http_peers_add(p, &b);
    http_peers_add(p, &c); /* the same /64 */
    assert_int_equal(http_peers_count(p, &a), 2);
    assert_int_equal(http_peers_count(p, &c), 2);
    http_peers_remove(p, &a);
    http_peers_remove(p, &a);
    http_peers_remove(p, &b);
    assert_int_equal(http_peers_count(p, &a), 0);
    assert_int_equal(http_peers_count(p, &b), 1);
    http_peers_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_everything_with_few_threads),
        cmocka_unit_test(tells_of_time_and_of_hanging_up),
        cmocka_unit_test(does_not_mistake_a_descriptor_that_is_used_again),
        cmocka_unit_test(counts_who_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
