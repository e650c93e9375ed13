/* The queue on a real Redis server: from push to end, in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "redis_fixture.h"

#include <poll.h>

/* ---- from push to end ---------------------------------------------------------------
 */

static void a_push_rings_and_the_job_is_claimed_once(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], left[500];
    struct job j;
    UNTIL(is_up(f));
    assert_int_equal(claim(f, NULL, &j), ERR_NOT_FOUND);
    UNTIL(redis_server_number(&f->server, "PUBLISH " PREFIX "bell x") == 1);
    UNTIL(rings(f));
    queue_clear(f->queue);
    assert_false(rings(f));
    add_job(f, (struct sort){0}, id);
    UNTIL(rings(f) && claim(f, NULL, &j) == 0);
    assert_string_equal(j.id, id);
    assert_int_equal(j.attempt, 1);
    assert_int_equal(claim(f, NULL, &(struct job){0}), ERR_NOT_FOUND);
    UNTIL(leased(f) == 1);
    CHECK(queue_renew(f->queue, id, 1, e));
    assert_int_equal(queue_renew(f->queue, id, 2, NULL), ERR_STATE);
    finish(f, id, 1);
    UNTIL(on_redis(f) == 0);
    /* Nothing without an owner is left behind. */
    UNTIL(!strcmp(redis_server_keys(&f->server, left, sizeof left), PREFIX "whole"));
    job_release(&j);
}

/* Until nothing is left for a process: it is called then when something comes. */
static void find_nothing(struct queue *q, const char *models)
{
    struct queue_ticket ticket;
    const struct store_wish wish = {.models = models};
    UNTIL(queue_next(q, models ? &wish : NULL, &ticket, NULL) == ERR_NOT_FOUND);
}

static bool is_called(const struct queue *q)
{
    struct pollfd p = {.fd = queue_fd(q), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* How many are called; waits for the first. */
static int called(struct queue *const *list, int count)
{
    int n = 0;
    while (!n) {
        usleep(20000); /* one script calls all that it calls */
        for (int i = 0; i < count; i++)
            n += is_called(list[i]);
    }
    return n;
}

static void one_is_woken_for_each_job(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    enum { COUNT = 4 };
    char id[ID_SIZE];
    struct queue *list[COUNT];
    struct redis_options o = {.url = f->server.url, .name = "test"};
    for (int i = 0; i < COUNT; i++) {
        CHECK(queue_redis_open(&list[i], f->store, &o, e));
        UNTIL(redis_server_number(&f->server, "PUBLISH " PREFIX "bell x") == i + 2);
        UNTIL(is_called(list[i]));
    }
    usleep(50000);
    for (int i = 0; i < COUNT; i++) { /* the last of them has another model */
        queue_clear(list[i]);
        find_nothing(list[i], i < COUNT - 1 ? "tiny,base" : "other");
    }
    for (int round = 1; round < COUNT; round++) {
        add_job(f, (struct sort){.model = "tiny"}, id);
        UNTIL(called(list, COUNT) == round);
        assert_false(is_called(list[COUNT - 1]));
    }
    add_job(f, (struct sort){.model = "other"}, id);
    UNTIL(is_called(list[COUNT - 1]));
    for (int i = 0; i < COUNT; i++)
        queue_close(list[i]);
}

/* Who has something to do leaves what comes to those who have nothing. */
static void who_is_idle_is_woken_first(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE];
    struct queue *busy, *idle, *gone;
    struct queue_ticket ticket;
    const struct store_wish beside = {.model = "tiny", .most_bytes = 1 << 20};
    struct redis_options o = {.url = f->server.url, .name = "test"};
    CHECK(queue_redis_open(&busy, f->store, &o, e));
    CHECK(queue_redis_open(&idle, f->store, &o, e));
    CHECK(queue_redis_open(&gone, f->store, &o, e));
    UNTIL(redis_server_number(&f->server, "PUBLISH " PREFIX "bell x") == 4);
    UNTIL(is_called(busy) && is_called(idle));
    usleep(50000);
    queue_clear(busy);
    queue_clear(idle);
    find_nothing(idle, "tiny");
    UNTIL(queue_next(busy, &beside, &ticket, NULL) == ERR_NOT_FOUND);
    find_nothing(gone, "tiny");
    queue_close(gone); /* without a word, as when it is killed */
    UNTIL(redis_server_number(&f->server, "PUBLISH " PREFIX "bell x") == 3);
    UNTIL(is_called(busy) && is_called(idle));
    usleep(20000);
    queue_clear(busy);
    queue_clear(idle);
    add_job(f, (struct sort){.model = "tiny"}, id);
    UNTIL(is_called(idle));
    usleep(20000);
    assert_false(is_called(busy));
    add_job(f, (struct sort){.model = "tiny"}, id);
    UNTIL(is_called(busy));
    queue_close(busy);
    queue_close(idle);
}

/* From push to the bell of another process: what a worker waits that has nothing to do.
 */
static void the_bell_is_quick(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    enum { TIMES = 100 };
    char id[ID_SIZE];
    struct queue *other = NULL;
    struct redis_options o = {.url = f->server.url, .name = "test"};
    CHECK(queue_redis_open(&other, f->store, &o, e));
    UNTIL(redis_server_number(&f->server, "PUBLISH " PREFIX "bell x") == 2);
    struct pollfd p = {.fd = queue_fd(other), .events = POLLIN};
    UNTIL(poll(&p, 1, 0) == 1);
    usleep(50000);
    int64_t longest = 0, all = 0;
    for (int i = 0; i < TIMES; i++) {
        queue_clear(other);
        find_nothing(other, NULL);
        int64_t began = clock_monotonic_ns();
        add_job(f, (struct sort){0}, id);
        assert_int_equal(poll(&p, 1, 5000), 1);
        int64_t took = clock_monotonic_ns() - began;
        longest = took > longest ? took : longest;
        all += took;
    }
    print_message("from a commit to the bell of another process: %.2f ms on average, "
                  "%.2f ms at most\n",
                  (double)all / TIMES / 1e6, (double)longest / 1e6);
    assert_true(all / TIMES < 250000000);
    queue_close(other);
}

static void what_the_store_refuses_is_dropped(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char cancelled[ID_SIZE], good[ID_SIZE];
    struct job j;
    add_job(f, (struct sort){.created_ms = 1}, cancelled);
    add_job(f, (struct sort){.created_ms = 2}, good);
    UNTIL(on_redis(f) == 2);
    CHECK(store_cancel(f->store, cancelled, 1, e)); /* and nobody tells the queue */
    assert_int_equal(claim(f, NULL, &j), ERR_STATE);
    CHECK(claim(f, NULL, &j));
    assert_string_equal(j.id, good);
    job_release(&j);
    UNTIL(on_redis(f) == 1);
}

static void a_claim_is_fenced_by_the_attempt(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE];
    struct queue_ticket ticket;
    struct job j;
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    CHECK(queue_next(f->queue, NULL, &ticket, e));
    assert_string_equal(ticket.id, id);
    /* In the meantime another has it, and gives it back. */
    CHECK(store_claim(f->store, NULL, "other", 1, 2, &j, e));
    job_release(&j);
    CHECK(store_requeue(f->store, id, 1, e));
    assert_int_equal(queue_take(f->queue, &ticket, NULL, "owner", &j, NULL), ERR_STATE);
    queue_push(f->queue, id);
    UNTIL(claim(f, NULL, &j) == 0);
    assert_int_equal(j.attempt, 2);
    job_release(&j);
}

static void a_job_that_came_back_can_be_had_at_once(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], again[ID_SIZE];
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    claim_id(f, again);
    UNTIL(leased(f) == 1);
    CHECK(store_requeue(f->store, id, 1, e)); /* its lease on Redis is still there */
    queue_push(f->queue, id);
    UNTIL(leased(f) == 0);
    claim_id(f, again);
    assert_string_equal(again, id);
}

/* ---- the order ----------------------------------------------------------------------
 */

static void the_urgent_come_first_and_the_old_catch_up(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char ids[4][ID_SIZE], got[ID_SIZE];
    int64_t step = JOB_PRIORITY_STEP_MS, start = 10 * step;
    add_job(f, (struct sort){.created_ms = start}, ids[2]);
    add_job(f, (struct sort){.created_ms = start, .priority = 1}, ids[1]);
    add_job(f, (struct sort){.created_ms = start, .priority = -1}, ids[3]);
    add_job(f, (struct sort){.created_ms = start - 1 - step}, ids[0]);
    UNTIL(on_redis(f) == 4);
    for (int i = 0; i < 4; i++) {
        claim_id(f, got);
        assert_string_equal(got, ids[i]);
    }
}

static void a_thousand_jobs_do_not_starve_one(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], one[ID_SIZE], got[ID_SIZE];
    int64_t minute = 60 * 32000 * 2; /* two minutes of sound: no short job */
    for (int i = 0; i < 1000; i++)
        add_job(f, (struct sort){.caller = "many", .bytes = minute}, id);
    UNTIL(on_redis(f) == 1000);
    for (int i = 0; i < 5; i++)
        claim_id(f, got);
    add_job(f, (struct sort){.caller = "one", .bytes = minute, .created_ms = 1000500},
            one);
    UNTIL(on_redis(f) == 1001);
    int turns = 0;
    do {
        claim_id(f, got);
        turns++;
    } while (strcmp(got, one) != 0 && turns < 1000);
    assert_in_range(turns, 1, 2);
}

/* One sends long recordings and one short ones: they get the same time, not as many. */
static void callers_share_seconds_not_jobs(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], longs[20][ID_SIZE], got[ID_SIZE];
    for (int i = 0; i < 20; i++)
        add_job(f, (struct sort){.caller = "long", .bytes = 32000 * 400}, longs[i]);
    for (int i = 0; i < 60; i++)
        add_job(f, (struct sort){.caller = "less", .bytes = 32000 * 100}, id);
    UNTIL(on_redis(f) == 80);
    int of_long = 0;
    for (int i = 0; i < 50; i++) {
        claim_id(f, got);
        for (int k = 0; k < 20; k++)
            of_long += !strcmp(got, longs[k]);
    }
    assert_in_range(of_long, 9, 11); /* 10 · 400 s and 40 · 100 s */
}

/* A length that was guessed from the size is put right when it is known. */
static void what_turned_out_longer_is_charged(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char first[ID_SIZE], second[ID_SIZE], other[ID_SIZE], got[ID_SIZE];
    struct sort a = {.caller = "a", .bytes = 32000 * 100, .created_ms = 1000000};
    struct sort b = {.caller = "b", .bytes = 32000 * 100, .created_ms = 1500000};
    add_job(f, a, first);
    add_job(f, a, second);
    UNTIL(on_redis(f) == 2);
    claim_id(f, got);
    add_job(f, b, other);
    UNTIL(on_redis(f) == 3);
    over(f, got, 1000, false); /* seconds, not a hundred */
    UNTIL(on_redis(f) == 2);
    claim_id(f, got);
    assert_string_equal(got, other);
}

static void short_jobs_have_a_lane(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], shorts[3][ID_SIZE], got[ID_SIZE];
    for (int i = 0; i < 20; i++)
        add_job(f, (struct sort){.bytes = 32000 * 3600, .created_ms = 1000}, id);
    for (int i = 0; i < 3; i++)
        add_job(f, (struct sort){.bytes = 32000 * 5, .created_ms = 100000 + i},
                shorts[i]);
    UNTIL(on_redis(f) == 23);
    for (int i = 0; i < 9; i++) {
        claim_id(f, got);
        if (i % 3 == 2)
            assert_string_equal(got, shorts[i / 3]);
    }
}

/* What a machine lacks the model for stands in nobody's way, and is not lost. */
static void a_job_of_another_model_is_left_to_who_has_it(void **state)
{
    enum { OTHERS = 30 };
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], far[ID_SIZE], near[ID_SIZE];
    struct job j;
    const struct store_wish tiny = {.models = "base,tiny"}, none = {.models = ""};
    const struct store_wish large = {.models = "large"};
    for (int i = 0; i < OTHERS; i++)
        add_job(f, (struct sort){.caller = "a", .model = "large", .created_ms = 1000 + i},
                id);
    add_job(f, (struct sort){.caller = "a", .model = "tiny", .created_ms = 2000}, far);
    add_job(f, (struct sort){.caller = "b", .model = "large", .created_ms = 2001}, id);
    add_job(f, (struct sort){.caller = "b", .model = "tiny", .created_ms = 2002}, near);
    UNTIL(on_redis(f) == OTHERS + 3);
    assert_int_equal(claim(f, &none, &j), ERR_NOT_FOUND);
    CHECK(claim(f, &tiny, &j));
    assert_string_equal(j.id, near);
    job_release(&j);
    CHECK(claim(f, &tiny, &j));
    assert_string_equal(j.id, far);
    job_release(&j);
    assert_int_equal(claim(f, &tiny, &j), ERR_NOT_FOUND);
    for (int i = 0; i <= OTHERS; i++) {
        CHECK(claim(f, &large, &j));
        assert_string_equal(j.model, "large");
        job_release(&j);
    }
    assert_int_equal(claim(f, NULL, &j), ERR_NOT_FOUND);
}

static void a_wish_is_for_what_is_small_and_of_the_model(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char large[ID_SIZE], other[ID_SIZE], tried[ID_SIZE], right[ID_SIZE];
    struct job j;
    struct store_wish wish = {.model = "tiny", .most_bytes = QUEUE_BESIDE_BYTES};
    add_job(f, (struct sort){.bytes = QUEUE_BESIDE_BYTES + 1, .created_ms = 1}, large);
    add_job(f, (struct sort){.model = "base", .created_ms = 2}, other);
    add_job(f, (struct sort){.created_ms = 3}, tried);
    UNTIL(on_redis(f) == 3);
    CHECK(claim(f, &wish, &j));
    assert_string_equal(j.id, tried);
    job_release(&j);
    CHECK(store_requeue(f->store, tried, 1, e));
    queue_push(f->queue, tried);
    UNTIL(leased(f) == 0);
    assert_int_equal(claim(f, &wish, &j), ERR_NOT_FOUND);
    add_job(f, (struct sort){.created_ms = 4}, right);
    UNTIL(claim(f, &wish, &j) == 0);
    assert_string_equal(j.id, right);
    job_release(&j);
}

/* ---- delays, leases, the dead --------------------------------------------------------
 */

static void a_retry_waits_until_it_is_due(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], got[ID_SIZE];
    struct job j;
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    claim_id(f, got);
    int64_t now = clock_wall_ms();
    struct store_crash crash = {.limit = 3, .now_ms = now, .run_after_ms = now + 600};
    CHECK(store_crash(f->store, id, 1, &crash, e));
    queue_push(f->queue, id);
    UNTIL(redis_server_number(&f->server, "ZCARD " PREFIX "later") == 1);
    assert_int_equal(claim(f, NULL, &j), ERR_NOT_FOUND);
    UNTIL(claim(f, NULL, &j) == 0);
    assert_true(clock_wall_ms() >= now + 600);
    assert_int_equal(j.attempt, 2);
    job_release(&j);
}

static void what_is_reserved_and_not_taken_comes_back(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE];
    struct queue_ticket first, second = {0};
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    CHECK(queue_next(f->queue, NULL, &first, e));
    assert_int_equal(queue_next(f->queue, NULL, &second, NULL), ERR_NOT_FOUND);
    UNTIL(queue_next(f->queue, NULL, &second, NULL) == 0);
    assert_string_equal(second.id, id);
}

static void the_dead_are_kept_until_they_are_tried_again(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char ids[2][ID_SIZE], got[ID_SIZE], left[500];
    for (int i = 0; i < 2; i++) {
        add_job(f, (struct sort){0}, ids[i]);
        UNTIL(on_redis(f) == 1);
        claim_id(f, got);
        CHECK(store_fail(f->store, ids[i], 1, 1, "crash", "it died", e));
        over(f, ids[i], 0, true);
        UNTIL(on_redis(f) == 0);
    }
    assert_int_equal(redis_server_number(&f->server, "ZCARD " PREFIX "dead"), 2);
    CHECK(store_retry(f->store, ids[0], e));
    queue_push(f->queue, ids[0]);
    UNTIL(redis_server_number(&f->server, "ZCARD " PREFIX "dead") == 1);
    /* One that is deleted elsewhere is found. */
    CHECK(store_remove(f->store, ids[1], e));
    UNTIL(redis_server_number(&f->server, "ZCARD " PREFIX "dead") == 0);
    CHECK(store_remove(f->store, ids[0], e));
    UNTIL(!strcmp(redis_server_keys(&f->server, left, sizeof left), PREFIX "whole"));
}

static void a_retry_waits_longer_each_time(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_in_range(queue_backoff_ms(1, 500, 8000), 250, 500);
        assert_in_range(queue_backoff_ms(3, 500, 8000), 1000, 2000);
        assert_in_range(queue_backoff_ms(100, 500, 8000), 4000, 8000);
        assert_in_range(queue_backoff_ms(0, 500, 8000), 250, 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_push_rings_and_the_job_is_claimed_once),
        TEST(one_is_woken_for_each_job),
        TEST(who_is_idle_is_woken_first),
        TEST(the_bell_is_quick),
        TEST(what_the_store_refuses_is_dropped),
        TEST(a_claim_is_fenced_by_the_attempt),
        TEST(a_job_that_came_back_can_be_had_at_once),
        TEST(the_urgent_come_first_and_the_old_catch_up),
        TEST(a_thousand_jobs_do_not_starve_one),
        TEST(callers_share_seconds_not_jobs),
        TEST(what_turned_out_longer_is_charged),
        TEST(short_jobs_have_a_lane),
        TEST(a_job_of_another_model_is_left_to_who_has_it),
        TEST(a_wish_is_for_what_is_small_and_of_the_model),
        TEST(a_retry_waits_until_it_is_due),
        TEST(what_is_reserved_and_not_taken_comes_back),
        TEST(the_dead_are_kept_until_they_are_tried_again),
        cmocka_unit_test(a_retry_waits_longer_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
