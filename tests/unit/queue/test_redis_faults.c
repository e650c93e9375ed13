/* The queue on a Redis server that is killed, emptied, full or silent; rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "redis_fixture.h"

#include "base/mem.h"

#include <signal.h>

/* ---- what happens to Redis -----------------------------------------------------------
 */

static void what_was_flushed_is_put_in_again(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char ids[300][ID_SIZE], got[ID_SIZE];
    for (int i = 0; i < 300; i++)
        add_job(f, (struct sort){.created_ms = 1000 + i}, ids[i]);
    UNTIL(on_redis(f) == 300);
    freeReplyObject(redis_server_ask(&f->server, "FLUSHALL"));
    claim_id(f, got); /* the store says it, at once */
    assert_string_equal(got, ids[0]);
    UNTIL(on_redis(f) >= 299);
    UNTIL(is_up(f));
    for (int i = 1; i < 300; i++) {
        claim_id(f, got);
        assert_string_equal(got, ids[i]);
    }
}

static void nothing_is_missed_while_it_is_dead(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char first[ID_SIZE], second[ID_SIZE], third[ID_SIZE], got[ID_SIZE];
    add_job(f, (struct sort){.created_ms = 1}, first);
    add_job(f, (struct sort){.created_ms = 2}, second);
    UNTIL(on_redis(f) == 2);
    redis_server_kill(&f->server);
    claim_id(f, got);
    assert_string_equal(got, first);
    queue_clear(f->queue);
    add_job(f, (struct sort){.created_ms = 3}, third);
    UNTIL(rings(f)); /* of this process at least */
    claim_id(f, got);
    assert_string_equal(got, second);
    redis_server_start(&f->server, NULL, NULL);
    UNTIL(on_redis(f) == 1 && is_up(f));
    claim_id(f, got);
    assert_string_equal(got, third);
}

static void it_may_be_away_from_the_start(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], got[ID_SIZE];
    queue_close(f->queue);
    redis_server_kill(&f->server);
    open_queue(f);
    add_job(f, (struct sort){0}, id);
    claim_id(f, got);
    assert_string_equal(got, id);
}

static void a_full_server_is_no_obstacle(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char ids[2][ID_SIZE], got[ID_SIZE];
    freeReplyObject(redis_server_ask(&f->server, "CONFIG SET maxmemory 1"));
    add_job(f, (struct sort){.created_ms = 1}, ids[0]);
    UNTIL(!is_up(f));
    claim_id(f, got);
    assert_string_equal(got, ids[0]);
    freeReplyObject(redis_server_ask(&f->server, "CONFIG SET maxmemory 0"));
    UNTIL(is_up(f));
    add_job(f, (struct sort){.created_ms = 2}, ids[1]);
    UNTIL(on_redis(f) >= 1);
    claim_id(f, got);
    assert_string_equal(got, ids[1]);
}

/* As after a failover: what answers is a copy that may not be written, then an empty one.
 */
static void a_replica_is_no_obstacle(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], got[ID_SIZE];
    freeReplyObject(redis_server_ask(&f->server, "REPLICAOF 127.0.0.1 1"));
    add_job(f, (struct sort){0}, id);
    UNTIL(!is_up(f));
    claim_id(f, got);
    assert_string_equal(got, id);
    freeReplyObject(redis_server_ask(&f->server, "REPLICAOF NO ONE"));
    freeReplyObject(redis_server_ask(&f->server, "FLUSHALL"));
    UNTIL(is_up(f));
}

static void a_server_that_sleeps_delays_nobody_for_long(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], got[ID_SIZE];
    kill(f->server.pid, SIGSTOP);
    int64_t began = clock_wall_ms();
    add_job(f, (struct sort){0}, id); /* does not wait for it */
    assert_true(clock_wall_ms() - began < 500);
    claim_id(f, got);
    assert_string_equal(got, id);
    assert_true(clock_wall_ms() - began < 3000);
    began = clock_wall_ms();
    assert_int_equal(claim(f, NULL, &(struct job){0}), ERR_NOT_FOUND);
    assert_true(clock_wall_ms() - began < 500); /* known by now */
    kill(f->server.pid, SIGCONT);
    UNTIL(is_up(f));
}

static void scripts_that_were_forgotten_are_sent_again(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], got[ID_SIZE];
    freeReplyObject(redis_server_ask(&f->server, "SCRIPT FLUSH"));
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    claim_id(f, got);
    assert_string_equal(got, id);
    assert_true(is_up(f));
}

/* A server whose memory is full may throw away what it likes. */
static void what_was_thrown_away_stops_nobody(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    static const char *const names[] = {"jobs",   "virtual",  "ready:short",
                                        "line:*", "beside:*", "of:*"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        char ids[3][ID_SIZE], words[500];
        for (int k = 0; k < 3; k++)
            add_job(f, (struct sort){.caller = k ? "b" : "a", .created_ms = 1 + k},
                    ids[k]);
        UNTIL(on_redis(f) == 3);
        (void)snprintf(words, sizeof words, "KEYS " PREFIX "%s", names[i]);
        redisReply *keys = redis_server_ask(&f->server, words);
        assert_true(keys->elements > 0);
        (void)snprintf(words, sizeof words, "DEL %s", keys->element[0]->str);
        assert_int_equal(redis_server_number(&f->server, words), 1);
        freeReplyObject(keys);
        int had = 0;
        UNTIL((had += claim_any(f)) == 3);
        assert_int_equal(claim_any(f), 0);
        for (int k = 0; k < 3; k++)
            finish(f, ids[k], 1);
        UNTIL(on_redis(f) == 0);
    }
}

static void what_ended_unheard_is_taken_out(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE];
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    CHECK(store_cancel(f->store, id, 1, e));
    UNTIL(on_redis(f) == 0); /* nobody said so */
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    CHECK(store_remove(f->store, id, e));
    over(f, id, 0, false);
    UNTIL(on_redis(f) == 0);
}

static void the_lease_of_a_dead_process_ends(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    char id[ID_SIZE], got[ID_SIZE];
    int64_t count;
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    claim_id(f, got);
    UNTIL(leased(f) == 1);
    CHECK(queue_recover(f->queue, true, &count, e)); /* its holder is known to be dead */
    assert_int_equal(count, 1);
    UNTIL(leased(f) == 0);
    claim_id(f, got);
    assert_string_equal(got, id);
}

/* ---- rates ---------------------------------------------------------------------------
 */

static void rates_are_counted_together(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    struct queue *other = NULL;
    struct redis_options o = {.url = f->server.url, .name = "test"};
    CHECK(queue_redis_open(&other, f->store, &o, e));
    struct queue_rate rate = {"someone", 4, 2}, else_rate = {"another", 4, 2};
    struct queue_allowance a;
    UNTIL(queue_allow(f->queue, &else_rate, &a) == 0);
    UNTIL(queue_allow(other, &else_rate, &a) == 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(queue_allow(i % 2 ? other : f->queue, &rate, &a), 0);
        assert_true(a.allowed);
        assert_int_equal(a.wait_us, 0);
        assert_in_range(a.reset_us, 500000 * i, 500000 * (i + 1));
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(queue_allow(i ? other : f->queue, &rate, &a), 0);
        assert_false(a.allowed);
        assert_in_range(a.wait_us, 1, 500000);
    }
    /* One is earned in half a second, and what says nothing any more goes. */
    usleep((useconds_t)a.wait_us + 5000);
    assert_int_equal(queue_allow(other, &rate, &a), 0);
    assert_true(a.allowed);
    UNTIL(redis_server_number(&f->server, "EXISTS " PREFIX "rate:someone") == 0);
    queue_close(other);
}

static void nobody_waits_for_a_rate(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    struct queue_rate rate = {"someone", 4, 2};
    struct queue_allowance a;
    UNTIL(queue_allow(f->queue, &rate, &a) == 0);
    kill(f->server.pid, SIGSTOP);
    int64_t began = clock_wall_ms();
    assert_int_equal(queue_allow(f->queue, &rate, &a), ERR_NETWORK);
    assert_true(clock_wall_ms() - began < 1000);
    began = clock_wall_ms();
    for (int i = 0; i < 100; i++)
        assert_int_equal(queue_allow(f->queue, &rate, &a), ERR_NETWORK);
    assert_true(clock_wall_ms() - began < 1000);
    kill(f->server.pid, SIGCONT);
    UNTIL(queue_allow(f->queue, &rate, &a) == 0);
}

/* What is left behind when Redis' own clock is set back by five hours: times that lie
 * five hours ahead. */
static void a_clock_that_is_set_back_holds_up_nobody(void **state)
{
    struct fixture *f = *state;
    NEEDS_SERVER(f);
    static const int64_t hours = 5 * INT64_C(3600000);
    char id[ID_SIZE], got[ID_SIZE], words[200];
    struct queue_rate rate = {"someone", 4, 2};
    struct queue_allowance a;
    add_job(f, (struct sort){0}, id);
    UNTIL(on_redis(f) == 1);
    claim_id(f, got);
    int64_t now = clock_wall_ms();
    struct store_crash crash = {.limit = 3, .now_ms = now, .run_after_ms = now + 1000};
    CHECK(store_crash(f->store, id, 1, &crash, e));
    queue_push(f->queue, id);
    UNTIL(redis_server_number(&f->server, "ZCARD " PREFIX "later") == 1);
    (void)snprintf(words, sizeof words, "SET " PREFIX "turn 1 PX %lld", (long long)hours);
    freeReplyObject(redis_server_ask(&f->server, words));
    (void)snprintf(words, sizeof words, "ZADD " PREFIX "later XX %lld %s",
                   (long long)(now + hours), id);
    assert_int_equal(redis_server_number(&f->server, words), 0);
    UNTIL(claim_any(f));
    UNTIL(queue_allow(f->queue, &rate, &a) == 0);
    (void)snprintf(words, sizeof words, "SET " PREFIX "rate:someone %lld PX %lld",
                   (long long)(now + hours) * 1000, (long long)hours);
    freeReplyObject(redis_server_ask(&f->server, words));
    assert_int_equal(queue_allow(f->queue, &rate, &a), 0);
    assert_true(a.allowed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_flushed_is_put_in_again),
        TEST(nothing_is_missed_while_it_is_dead),
        TEST(it_may_be_away_from_the_start),
        TEST(a_full_server_is_no_obstacle),
        TEST(a_replica_is_no_obstacle),
        TEST(a_server_that_sleeps_delays_nobody_for_long),
        TEST(scripts_that_were_forgotten_are_sent_again),
        TEST(what_was_thrown_away_stops_nobody),
        TEST(what_ended_unheard_is_taken_out),
        TEST(the_lease_of_a_dead_process_ends),
        TEST(rates_are_counted_together),
        TEST(nobody_waits_for_a_rate),
        TEST(a_clock_that_is_set_back_holds_up_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
