/* The queue on a real Redis server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../store/store_test.h"
#include "redis_server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "queue/redis.h"
#include "queue/redis_scripts.h"
#include "store/waiting.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define PREFIX "wt:{test}:"

struct fixture {
    char folder[PATH_MAX];
    struct redis_server server;
    struct store *store;
    struct queue *queue;
};

static void open_queue(struct fixture *f)
{
    struct redis_options o = {.url = f->server.url, .name = "test"};
    CHECK(queue_redis_open(&f->queue, f->store, &o, e));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!redis_server_present())
        return 0;
    test_folder_make(f->folder);
    test_folder_make(f->server.folder);
    redis_server_start(&f->server, NULL, NULL);
    f->store = test_store_open(f->folder);
    open_queue(f);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    queue_close(f->queue);
    store_close(f->store);
    redis_server_kill(&f->server);
    if (f->folder[0]) {
        test_folder_remove(f->folder);
        test_folder_remove(f->server.folder);
    }
    free(f);
    return 0;
}

#define NEEDS_SERVER(f)                                                                  \
    do {                                                                                 \
        if (!(f)->store)                                                                 \
            skip();                                                                      \
    } while (0)

/* Ten seconds are more than anything here takes. */
#define UNTIL(condition)                                                                 \
    do {                                                                                 \
        int64_t until_ms = clock_wall_ms() + 10000;                                      \
        bool came = false;                                                               \
        while (!(came = (condition)) && clock_wall_ms() < until_ms)                      \
            usleep(2000);                                                                \
        if (!came)                                                                       \
            fail_msg("does not come about: %s", #condition);                             \
    } while (0)

struct sort {
    const char *caller, *model;
    int priority;
    int64_t bytes, created_ms;
};

static const char *add_job(struct fixture *f, struct sort sort, char id[ID_SIZE])
{
    char caller[64], model[64], language[] = "auto", task[] = "transcribe", none[] = "{}";
    (void)snprintf(caller, sizeof caller, "%s", sort.caller ? sort.caller : "");
    (void)snprintf(model, sizeof model, "%s", sort.model ? sort.model : "tiny");
    id_new(id);
    struct job j = {.original_filename = id,
                    .filename = id,
                    .model = model,
                    .caller = caller,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .priority = sort.priority,
                    .file_bytes = sort.bytes ? sort.bytes : 64000,
                    .created_ms = sort.created_ms ? sort.created_ms : 1000000};
    memcpy(j.id, id, ID_SIZE);
    CHECK(store_insert(f->store, &j, "00ff", e));
    queue_push(f->queue, id);
    return id;
}

static long long on_redis(const struct fixture *f)
{
    return redis_server_number(&f->server, "HLEN " PREFIX "jobs");
}

static long long leased(const struct fixture *f)
{
    return redis_server_number(&f->server, "ZCARD " PREFIX "leases");
}

static bool rings(const struct fixture *f)
{
    struct pollfd p = {.fd = queue_fd(f->queue), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* Whether Redis chooses, as opposed to the store. */
static bool is_up(const struct fixture *f)
{
    struct queue_ticket t;
    return queue_next(f->queue, &(struct store_wish){.model = "none"}, &t, NULL) ==
           ERR_NOT_FOUND;
}

static int claim(struct fixture *f, const struct store_wish *wish, struct job *out)
{
    struct queue_ticket t;
    int status = queue_next(f->queue, wish, &t, NULL);
    return status ? status : queue_take(f->queue, &t, wish, "owner", out, NULL);
}

/* The id of the next job, which is claimed; one that cannot be had is passed over. */
static void claim_id(struct fixture *f, char id[ID_SIZE])
{
    struct job j = {0};
    int status = ERR_STATE;
    while (status == ERR_STATE)
        status = claim(f, NULL, &j);
    assert_int_equal(status, 0);
    memcpy(id, j.id, ID_SIZE);
    job_release(&j);
}

/* How many were claimed: 0 or 1. */
static int claim_any(struct fixture *f)
{
    struct job j = {0};
    int status = claim(f, NULL, &j);
    if (!status)
        job_release(&j);
    return status == 0;
}

static void over(struct fixture *f, const char *id, double seconds, bool dead)
{
    struct queue_end end = {.seconds = seconds, .dead = dead};
    queue_over(f->queue, id, &end);
}

static void finish(struct fixture *f, const char *id, int attempt)
{
    struct store_result result = {.transcript_json = "{}", .transcript_text = ""};
    CHECK(store_complete(f->store, id, attempt, 2, &result, e));
    over(f, id, 0, false);
}

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
    static const char *const names[] = {"jobs", "virtual", "ready:short", "line:*",
                                        "beside:*"};
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_push_rings_and_the_job_is_claimed_once),
        TEST(the_bell_is_quick),
        TEST(what_the_store_refuses_is_dropped),
        TEST(a_claim_is_fenced_by_the_attempt),
        TEST(a_job_that_came_back_can_be_had_at_once),
        TEST(the_urgent_come_first_and_the_old_catch_up),
        TEST(a_thousand_jobs_do_not_starve_one),
        TEST(callers_share_seconds_not_jobs),
        TEST(short_jobs_have_a_lane),
        TEST(a_wish_is_for_what_is_small_and_of_the_model),
        TEST(a_retry_waits_until_it_is_due),
        TEST(what_is_reserved_and_not_taken_comes_back),
        TEST(the_dead_are_kept_until_they_are_tried_again),
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
        cmocka_unit_test(a_retry_waits_longer_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
