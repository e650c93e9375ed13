/* Who waits beside others hears that he is to stop, whatever they are at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "engine/batcher.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

/* One who waits for something that he does not get. */
struct waiter {
    struct batcher *b;
    bool (*wait)(struct batcher *b, struct member *m);
    atomic_bool cancelled, ended;
    bool got;
    int64_t ended_ns;
};

static bool is_cancelled(void *arg)
{
    struct waiter *w = arg;
    return atomic_load(&w->cancelled);
}

static void *wait_main(void *arg)
{
    struct waiter *w = arg;
    const struct whisper_callbacks c = {.arg = w, .cancelled = is_cancelled};
    struct member m = {.callbacks = &c};
    batcher_enter(w->b);
    batcher_join(w->b, &m);
    w->got = w->wait(w->b, &m);
    batcher_leave(w->b);
    w->ended_ns = clock_monotonic_ns();
    atomic_store(&w->ended, true);
    return NULL;
}

/* The first has it all the time; returns how long the other took to leave. */
static double seconds_to_leave(struct batcher *b,
                               bool (*wait)(struct batcher *b, struct member *m))
{
    struct waiter w = {.b = b, .wait = wait};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_main, &w), 0);
    usleep(300000);
    assert_false(atomic_load(&w.ended));
    int64_t asked_ns = clock_monotonic_ns();
    atomic_store(&w.cancelled, true);
    for (int i = 0; i < 500 && !atomic_load(&w.ended); i++)
        usleep(10000);
    assert_true(atomic_load(&w.ended));
    pthread_join(thread, NULL);
    assert_false(w.got);
    return (double)(w.ended_ns - asked_ns) / SECOND_NS;
}

static struct batcher *open_batcher(int seats)
{
    struct batcher *b;
    struct err e = {0};
    if (batcher_open(&b, seats, &e))
        fail_msg("%s", e.message);
    return b;
}

static void leaves_while_another_has_the_net(void **state)
{
    (void)state;
    struct batcher *b = open_batcher(2);
    batcher_enter(b);
    assert_true(batcher_begin(b, NULL));
    assert_true(seconds_to_leave(b, batcher_begin) < 1);
    batcher_end(b);
    /* And it is there for the next. */
    assert_true(batcher_begin(b, NULL));
    batcher_end(b);
    batcher_leave(b);
    batcher_close(b);
}

static void leaves_while_others_have_the_seats(void **state)
{
    (void)state;
    struct batcher *b = open_batcher(1);
    struct member first = {0};
    batcher_enter(b);
    batcher_join(b, &first);
    assert_true(batcher_wait_seat(b, &first));
    int seat = batcher_take_seat(b, &first, NULL);
    batcher_leave(b);
    assert_true(seconds_to_leave(b, batcher_wait_seat) < 1);
    batcher_enter(b);
    batcher_free_seat(b, &first, seat);
    assert_true(batcher_wait_seat(b, &first));
    batcher_leave(b);
    batcher_close(b);
}

static bool wait_for_turn(struct batcher *b, struct member *m)
{
    while (!batcher_stopped(b, m))
        if (batcher_begin_step(b, 1))
            return true;
    return false;
}

static void leaves_while_another_is_at_a_step(void **state)
{
    (void)state;
    struct batcher *b = open_batcher(2);
    batcher_enter(b);
    assert_true(batcher_begin_step(b, 0));
    batcher_compute(b);
    assert_true(seconds_to_leave(b, wait_for_turn) < 1);
    batcher_end_step(b);
    assert_true(batcher_begin_step(b, 0));
    batcher_compute(b);
    batcher_end_step(b);
    batcher_leave(b);
    batcher_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_while_another_has_the_net),
        cmocka_unit_test(leaves_while_others_have_the_seats),
        cmocka_unit_test(leaves_while_another_is_at_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
