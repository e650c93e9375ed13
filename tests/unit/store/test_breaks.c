/* PostgreSQL breaks off, restarts and is away: nothing is lost, nothing happens twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "crowd.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cutter.h"
#include "postgres.h"
#include "store/keys.h"
#include "store/share.h"

#include <unistd.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, crowd_set_up, crowd_tear_down)
#define SECOND_NS  INT64_C(1000000000)

static void add_until_over(struct crowd *c, int i)
{
    FILE *out = ((FILE **)c->arg)[i];
    while (!atomic_load(&c->over)) {
        char name[64] = "a.wav";
        struct job j = crowd_job(name, i);
        int status = store_insert(c->store, &j, "00", NULL);
        fprintf(out, "%d %s\n", status, j.id);
        atomic_fetch_add(&c->done, !status);
        if (status)
            usleep(1000);
    }
}

static void *add_beside(void *arg)
{
    crowd_run(arg, 8, add_until_over);
    return NULL;
}

/* What was said to be done is there, what was said not to be is not. */
static void a_restart_loses_nothing(void **state)
{
    struct fixture *f = *state;
    FILE *files[8];
    struct crowd c = {.f = f, .store = crowd_open(f->url, 4), .arg = files};
    pthread_t crowd;
    for (int i = 0; i < 8; i++)
        files[i] = tmpfile();
    assert_int_equal(pthread_create(&crowd, NULL, add_beside, &c), 0);
    const char *more = getenv("WT_TEST_RESTARTS");
    long restarts = more ? strtol(more, NULL, 10) : 3;
    for (long i = 0; i < restarts; i++) {
        usleep(300000);
        postgres_stop();
        usleep((unsigned)(i % 3) * 200000);
        postgres_start();
    }
    usleep(300000);
    atomic_store(&c.over, true);
    pthread_join(crowd, NULL);
    assert_true(c.done > 20);
    int unsure = 0, away = 0;
    for (int i = 0; i < 8; i++) {
        int status;
        char id[ID_SIZE];
        struct job j;
        rewind(files[i]);
        while (fscanf(files[i], "%d %36s", &status, id) == 2) {
            int there = store_get(c.store, id, &j, NULL);
            if (there == 0)
                job_release(&j);
            unsure += status == ERR_UNSURE;
            away += status == ERR_AWAY;
            if (status == 0)
                assert_int_equal(there, 0);
            else if (status != ERR_UNSURE && there != ERR_NOT_FOUND)
                fail_msg("%s is there, and was refused with %d", id, status);
        }
        fclose(files[i]);
    }
    print_message("%d done, %d refused, %d unsure\n", c.done, away, unsure);
    store_close(c.store);
}

static void a_commit_whose_answer_is_lost_is_known(void **state)
{
    struct fixture *f = *state;
    struct cutter *cutter = cutter_start(postgres_port());
    char url[PATH_MAX + 32], id[ID_SIZE];
    (void)snprintf(url, sizeof url, "postgresql://wt:%s@127.0.0.1:%d/%s?sslmode=disable",
                   POSTGRES_PASSWORD, cutter_port(cutter), f->database);
    struct store *s = crowd_open(url, 2);
    const char *one[] = {"[1]"};
    struct store_checkpoint cp = {
        .next_frame = 5, .windows = one, .n_windows = 1, .message = "m"};
    struct store_result result = {.transcript_json = "{}", .transcript_text = "hello"};
    struct store_resume r;
    struct job j;
    for (int round = 0; round < 2; round++) {
        /* Behind the commit, and before it. */
        static const char *const tags[2][3] = {{"COMMIT", "COMMIT", "COMMIT"},
                                               {"INSERT 0 1", "UPDATE 1", "UPDATE 1"}};
        cutter_arm(cutter, tags[round][0], 1);
        test_store_add(s, 1, "a.wav", id);
        assert_int_equal(cutter_left(cutter), 0);
        cutter_arm(cutter, tags[round][1], 1);
        CHECK(store_claim(s, NULL, "me", 10, 20, &j, e));
        assert_int_equal(cutter_left(cutter), 0);
        assert_string_equal(j.id, id);
        assert_int_equal(j.attempt, 1);
        job_release(&j);
        cutter_arm(cutter, tags[round][2], 1);
        CHECK(store_checkpoint(s, id, 1, &cp, e));
        assert_int_equal(cutter_left(cutter), 0);
        CHECK(store_resume(s, id, &r, e));
        assert_int_equal(r.n_windows, 1);
        store_resume_release(&r);
        /* And when a caller does it again all the same: */
        CHECK(store_checkpoint(s, id, 1, &cp, e));
        CHECK(store_resume(s, id, &r, e));
        assert_int_equal(r.n_windows, 1);
        store_resume_release(&r);
        cutter_arm(cutter, tags[round][0], 1);
        CHECK(store_complete(s, id, 1, 50, &result, e));
        assert_int_equal(cutter_left(cutter), 0);
        CHECK(store_get(s, id, &j, e));
        assert_int_equal(j.status, JOB_COMPLETED);
        job_release(&j);
    }
    struct job_list list;
    struct job_filter all = {.limit = 10, .search = "hello"};
    CHECK(store_list(s, &all, &list, e));
    assert_int_equal(list.total, 2);
    job_list_release(&list);
    store_close(s);
    cutter_stop(cutter);
}

/* While it is asked for, somebody else has the connection, and commits in its name. */
static void a_lost_commit_is_not_taken_for_a_later_one(void **state)
{
    struct fixture *f = *state;
    struct cutter *cutter = cutter_start(postgres_port());
    char url[PATH_MAX + 32];
    (void)snprintf(url, sizeof url, "postgresql://wt:%s@127.0.0.1:%d/%s?sslmode=disable",
                   POSTGRES_PASSWORD, cutter_port(cutter), f->database);
    FILE *files[8];
    struct crowd c = {.f = f, .store = crowd_open(url, 1), .arg = files};
    pthread_t crowd;
    for (int i = 0; i < 8; i++)
        files[i] = tmpfile();
    assert_int_equal(pthread_create(&crowd, NULL, add_beside, &c), 0);
    for (int i = 0; i < 20; i++) {
        cutter_arm(cutter, "COMMIT", 1);
        while (cutter_left(cutter))
            usleep(1000);
    }
    atomic_store(&c.over, true);
    pthread_join(crowd, NULL);
    for (int i = 0; i < 8; i++) {
        int status;
        char id[ID_SIZE];
        rewind(files[i]);
        while (fscanf(files[i], "%d %36s", &status, id) == 2)
            assert_int_equal(status, 0);
        fclose(files[i]);
    }
    store_close(c.store);
    cutter_stop(cutter);
}

static void add_session(struct crowd *c, int i)
{
    struct store_session x = {.id = "00000000000000aa",
                              .hash = "h",
                              .key_id = "00000000000000bb",
                              .expires_ms = 50};
    (void)i;
    if (store_session_add(c->store, &x, NULL))
        atomic_fetch_add(&c->failed, 1);
    else
        atomic_fetch_add(&c->done, 1);
}

static void *add_session_beside(void *arg)
{
    add_session(arg, 0);
    return NULL;
}

/* Somebody with psql: it holds the key, and wants the session that we are writing. */
static void a_deadlock_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct crowd c = {.f = f, .store = crowd_open(f->url, 2)};
    struct store_key k = {.scopes = KEY_READ, .id = "00000000000000bb"};
    pthread_t thread;
    CHECK(store_key_add(c.store, &k, false, e));
    struct postgres_session *other = postgres_session(f->database);
    postgres_session_run(other, "SET search_path = whisper_transcriber;"
                                "SET deadlock_timeout = '20s'; BEGIN;"
                                "SELECT 1 FROM keys FOR UPDATE");
    assert_int_equal(pthread_create(&thread, NULL, add_session_beside, &c), 0);
    for (int i = 0; i < 200 && postgres_ask(f->database, "SELECT count(*) FROM pg_locks "
                                                         "WHERE NOT granted") == 0;
         i++)
        usleep(10000);
    postgres_session_run(other, "INSERT INTO sessions VALUES ('00000000000000aa', 'x',"
                                "'00000000000000bb', 1, 2)");
    postgres_session_run(other, "ROLLBACK");
    pthread_join(thread, NULL);
    assert_int_equal(c.done, 1);
    assert_int_equal(postgres_ask(f->database, "SELECT deadlocks FROM pg_stat_database "
                                               "WHERE datname = current_database()") >= 0,
                     1);
    postgres_session_close(other);
    store_close(c.store);
}

/* A server that takes no writes, or is away for long: it is said in time, and passes. */
static void what_is_away_is_away_in_time(void **state)
{
    struct fixture *f = *state;
    struct store *s = crowd_open(f->url, 2);
    char id[ID_SIZE];
    struct job j;
    struct err why = {0};
    test_store_add(s, 1, "a.wav", id);
    postgres_stop();
    int64_t began = clock_monotonic_ns();
    assert_int_equal(store_get(s, id, &j, &why), ERR_AWAY);
    assert_null(strstr(why.message, POSTGRES_PASSWORD));
    int64_t first = clock_monotonic_ns() - began;
    assert_true(first > 5 * SECOND_NS && first < 13 * SECOND_NS);
    began = clock_monotonic_ns(); /* nobody waits for so long a second time */
    assert_int_equal(store_probe(s, &why), ERR_AWAY);
    assert_true(clock_monotonic_ns() - began < 2 * SECOND_NS);
    postgres_start();
    int status = ERR_AWAY;
    for (int i = 0; i < 100 && status; i++) {
        status = store_get(s, id, &j, &why);
        usleep(20000);
    }
    assert_int_equal(status, 0);
    job_release(&j);
    CHECK(store_probe(s, e));
    store_close(s);
}

/* A server that takes everything and answers nothing is away, too, and in time; one that
 * only has a long statement to do is not. */
static void what_is_silent_is_away_in_time(void **state)
{
    struct fixture *f = *state;
    struct cutter *cutter = cutter_start(postgres_port());
    char url[PATH_MAX + 32], id[ID_SIZE];
    struct job j;
    struct err why = {0};
    (void)snprintf(url, sizeof url, "postgresql://wt:%s@127.0.0.1:%d/%s?sslmode=disable",
                   POSTGRES_PASSWORD, cutter_port(cutter), f->database);
    struct crowd c = {.f = f, .store = crowd_open(url, 2)};
    struct store_key k = {.scopes = KEY_READ, .id = "00000000000000bb"};
    pthread_t thread;
    CHECK(store_key_add(c.store, &k, false, e));
    struct postgres_session *other = postgres_session(f->database);
    postgres_session_run(other, "SET search_path = whisper_transcriber; BEGIN;"
                                "SELECT 1 FROM keys FOR UPDATE");
    assert_int_equal(pthread_create(&thread, NULL, add_session_beside, &c), 0);
    usleep(8500000); /* longer than silence is borne */
    postgres_session_run(other, "ROLLBACK");
    pthread_join(thread, NULL);
    assert_int_equal(c.done, 1);
    assert_int_equal(postgres_ask(f->database, "SELECT count(*) FROM pg_stat_activity "
                                               "WHERE state = 'active'"),
                     1); /* this one */
    postgres_session_close(other);

    test_store_add(c.store, 1, "a.wav", id);
    cutter_silence(cutter, true);
    int64_t began = clock_monotonic_ns();
    assert_int_equal(store_get(c.store, id, &j, &why), ERR_AWAY);
    assert_true(clock_monotonic_ns() - began <
                15 * SECOND_NS);  /* ten, and a busy machine */
    began = clock_monotonic_ns(); /* nobody waits for so long a second time */
    assert_int_equal(store_get(c.store, id, &j, &why), ERR_AWAY);
    assert_true(clock_monotonic_ns() - began < 3 * SECOND_NS);
    cutter_silence(cutter, false);
    int status = ERR_AWAY;
    for (int i = 0; i < 500 && status; i++) {
        status = store_get(c.store, id, &j, &why);
        usleep(20000);
    }
    assert_int_equal(status, 0);
    job_release(&j);
    store_close(c.store);
    cutter_stop(cutter);
}

int main(void)
{
    postgres_need();
    const struct CMUnitTest tests[] = {
        TEST(a_restart_loses_nothing),
        TEST(a_commit_whose_answer_is_lost_is_known),
        TEST(a_lost_commit_is_not_taken_for_a_later_one),
        TEST(a_deadlock_is_tried_again),
        TEST(what_is_away_is_away_in_time),
        TEST(what_is_silent_is_away_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
