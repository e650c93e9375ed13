/* What only a database server can do to the store: refuse, and serve several processes at
 * the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "crowd.h"

#include "base/clock.h"
#include "base/mem.h"
#include "postgres.h"
#include "store/keys.h"
#include "store/native.h"
#include "store/pg_pool.h"
#include "store/share.h"
#include "store/webhooks.h"

#include <unistd.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, crowd_set_up, crowd_tear_down)
#define SECOND_NS  INT64_C(1000000000)
#define MOST       16

/* ---- what cannot be used --------------------------------------------------------- */

static int try_open(const char *url, struct err *e)
{
    struct store *s = NULL;
    struct store_options options = {0};
    int status = store_open(&s, url, &options, e);
    store_close(s);
    assert_null(strstr(e->message, POSTGRES_PASSWORD));
    assert_null(strstr(e->message, "wr0ng"));
    return status;
}

static void what_cannot_be_used_is_said_clearly(void **state)
{
    struct fixture *f = *state;
    struct err why = {0};
    char url[PATH_MAX + 32];
    (void)snprintf(url, sizeof url, "postgresql://wt:wr0ng@127.0.0.1:%d/%s",
                   postgres_port(), f->database);
    assert_int_equal(try_open(url, &why), ERR_DENIED);
    assert_non_null(strstr(why.message, "check user and password"));
    (void)snprintf(url, sizeof url, "postgresql://wt@127.0.0.1:%d/%s", postgres_port(),
                   f->database);
    assert_int_equal(try_open(url, &why), ERR_DENIED);
    postgres_url("no_such_place", url, sizeof url);
    assert_int_equal(try_open(url, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.message, "CREATE DATABASE \"no_such_place\""));
    postgres_run("postgres", "CREATE DATABASE old_times OWNER wt TEMPLATE template0 "
                             "ENCODING 'SQL_ASCII'");
    postgres_url("old_times", url, sizeof url);
    assert_int_equal(try_open(url, &why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why.message, "SQL_ASCII"));
    postgres_drop("old_times");
    int64_t began = clock_monotonic_ns();
    assert_int_equal(try_open("postgresql://wt:wr0ng@127.0.0.1:1/x", &why), ERR_AWAY);
    assert_non_null(strstr(why.message, "at 127.0.0.1:1 cannot be reached"));
    assert_true(clock_monotonic_ns() - began < 15 * SECOND_NS);
    assert_int_equal(try_open("postgresql://wt:wr0ng@h/d?nonsense=wr0ng", &why),
                     ERR_INVALID);
}

static void rights_that_are_missing_are_named(void **state)
{
    struct fixture *f = *state;
    struct err why = {0};
    char url[PATH_MAX + 32];
    postgres_run(f->database, "CREATE ROLE guest LOGIN PASSWORD '" POSTGRES_PASSWORD "'");
    (void)snprintf(url, sizeof url, "postgresql://guest:%s@127.0.0.1:%d/%s",
                   POSTGRES_PASSWORD, postgres_port(), f->database);
    assert_int_equal(try_open(url, &why), ERR_DENIED);
    assert_non_null(strstr(why.message, "GRANT CREATE"));
    postgres_run(f->database, "DROP ROLE guest");
}

/* ---- the schema ------------------------------------------------------------------ */

static void open_one(struct crowd *c, int i)
{
    struct err why = {0};
    struct store *s = NULL;
    struct store_options options = {.exclusive = i % 2, .connections = 2};
    int status = store_open(&s, c->f->url, &options, &why);
    if (status) {
        print_error("%s\n", why.message);
        atomic_fetch_add(&c->failed, 1);
    }
    store_close(s);
}

static void many_that_begin_at_once_migrate_once(void **state)
{
    struct fixture *f = *state;
    struct crowd c = {.f = f};
    crowd_run(&c, 12, open_one);
    assert_int_equal(c.failed, 0);
    long steps = postgres_ask(f->database,
                              "SELECT count(*) FROM whisper_transcriber.schema_version");
    assert_int_equal(
        steps,
        postgres_ask(f->database,
                     "SELECT max(version) FROM whisper_transcriber.schema_version"));
    assert_true(steps > 0);
}

static void other_versions_and_programs_are_refused(void **state)
{
    struct fixture *f = *state;
    struct err why = {0};
    postgres_run(f->database, "CREATE SCHEMA whisper_transcriber AUTHORIZATION wt;"
                              "CREATE TABLE whisper_transcriber.bookmarks (url text)");
    assert_int_equal(try_open(f->url, &why), ERR_INVALID);
    assert_non_null(strstr(why.message, "another program"));
    postgres_run(f->database, "DROP TABLE whisper_transcriber.bookmarks");
    CHECK(try_open(f->url, e));
    postgres_run(f->database,
                 "INSERT INTO whisper_transcriber.schema_version VALUES (99, 'x', 1)");
    assert_int_equal(try_open(f->url, &why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why.message, "newer version"));
}

/* ---- several at once ------------------------------------------------------------- */

#define JOBS 200

/* Odd ones are another process. */
static void claim_many(struct crowd *c, int i)
{
    struct store *s = i % 2 ? c->arg : c->store;
    struct job j;
    int status, waited = 0;
    while ((status = store_claim(s, NULL, "me", 10, 20, &j, NULL)) == 0 ||
           (status == ERR_NOT_FOUND && waited++ < 3)) {
        if (status) {
            usleep(10000); /* others were about to take what was there */
            continue;
        }
        atomic_fetch_add(&c->done, 1);
        if (j.attempt != 1)
            atomic_fetch_add(&c->odd, 1);
        job_release(&j);
    }
    if (status != ERR_NOT_FOUND)
        atomic_fetch_add(&c->failed, 1);
}

static void every_job_is_claimed_once(void **state)
{
    struct fixture *f = *state;
    struct crowd c = {
        .f = f, .store = crowd_open(f->url, 4), .arg = crowd_open(f->url, 4)};
    char id[ID_SIZE];
    for (int i = 0; i < JOBS; i++)
        test_store_add(c.store, i, "a.wav", id);
    crowd_run(&c, 16, claim_many);
    assert_int_equal(c.done, JOBS);
    assert_int_equal(c.odd, 0);
    assert_int_equal(c.failed, 0);
    store_close(c.store);
    store_close(c.arg);
}

static void ask_once(struct crowd *c, int i)
{
    char name[64] = "a.wav", first[ID_SIZE] = "";
    struct job j = crowd_job(name, 5);
    struct store_once o = {"", "the key", "the same", 5000, 4000};
    int status = store_insert_once(i % 2 ? c->arg : c->store, &j, "00", &o, first, NULL);
    if (status == 0)
        atomic_fetch_add(&c->done, 1);
    else if (status != ERR_EXISTS || !first[0])
        atomic_fetch_add(&c->failed, 1);
}

static void ask_for_the_same(struct crowd *c, int i)
{
    char name[64] = "a.wav", existing[ID_SIZE];
    struct job j = crowd_job(name, 5);
    int status = store_insert_shared(i % 2 ? c->arg : c->store, &j, "00", "the key", 0,
                                     existing, NULL);
    if (status)
        atomic_fetch_add(&c->failed, 1);
    else if (!existing[0])
        atomic_fetch_add(&c->done, 1);
}

static void make_first_key(struct crowd *c, int i)
{
    struct store_key k = {.scopes = KEY_ADMIN};
    (void)snprintf(k.id, sizeof k.id, "%016d", i);
    int status = store_key_add(i % 2 ? c->arg : c->store, &k, true, NULL);
    if (status == 0)
        atomic_fetch_add(&c->done, 1);
    else if (status != ERR_EXISTS)
        atomic_fetch_add(&c->failed, 1);
}

static void what_happens_once_happens_once(void **state)
{
    static void (*const fns[])(struct crowd * c, int i) = {ask_once, ask_for_the_same,
                                                           make_first_key};
    struct fixture *f = *state;
    struct store *a = crowd_open(f->url, 8), *b = crowd_open(f->url, 8);
    for (size_t i = 0; i < ARRAY_LENGTH(fns); i++) {
        struct crowd c = {.f = f, .store = a, .arg = b};
        crowd_run(&c, 16, fns[i]);
        assert_int_equal(c.done, 1);
        assert_int_equal(c.failed, 0);
    }
    store_close(a);
    store_close(b);
}

/* Many threads, two connections: each waits for its turn. */
static void add_some(struct crowd *c, int i)
{
    char name[64];
    for (int k = 0; k < 5; k++) {
        (void)snprintf(name, sizeof name, "%d-%d.wav", i, k);
        struct job j = crowd_job(name, i);
        if (store_insert(c->store, &j, "00", NULL))
            atomic_fetch_add(&c->failed, 1);
    }
}

static void few_connections_serve_many(void **state)
{
    struct fixture *f = *state;
    struct crowd c = {.f = f, .store = crowd_open(f->url, 2)};
    crowd_run(&c, 40, add_some);
    assert_int_equal(c.failed, 0);
    struct job_list list;
    struct job_filter all = {.limit = 1};
    CHECK(store_list(c.store, &all, &list, e));
    assert_int_equal(list.total, 200);
    job_list_release(&list);
    store_close(c.store);
}

/* ---- the log --------------------------------------------------------------------- */

static void add_and_cancel(struct crowd *c, int i)
{
    struct store *s = i % 2 ? c->arg : c->store;
    for (int k = 0; k < 25; k++) {
        char name[64] = "a.wav";
        struct job j = crowd_job(name, i);
        if (store_insert(s, &j, "00", NULL) || store_cancel(s, j.id, 9, NULL))
            atomic_fetch_add(&c->failed, 1);
        else
            atomic_fetch_add(&c->done, 2);
    }
}

static void *follow_log(void *arg)
{
    struct crowd *c = arg;
    int64_t at = 0;
    bool last = false;
    while (!last) {
        struct store_event_list list;
        last = atomic_load(&c->over);
        if (store_log_read(c->store, at, NULL, 1000, &list, NULL))
            return NULL;
        for (size_t i = 0; i < list.count; i++) {
            atomic_fetch_add(&c->odd, 1);
            at = list.events[i].number;
        }
        store_event_list_release(&list);
    }
    return NULL;
}

/* Whoever has read up to a number has missed none below it. */
static void the_log_is_read_without_gaps(void **state)
{
    struct fixture *f = *state;
    struct crowd c = {
        .f = f, .store = crowd_open(f->url, 8), .arg = crowd_open(f->url, 8)};
    pthread_t follower;
    assert_int_equal(pthread_create(&follower, NULL, follow_log, &c), 0);
    crowd_run(&c, 12, add_and_cancel);
    atomic_store(&c.over, true);
    pthread_join(follower, NULL);
    assert_int_equal(c.failed, 0);
    assert_int_equal(c.odd, c.done);
    store_close(c.store);
    store_close(c.arg);
}

/* ---- other processes ------------------------------------------------------------- */

/* Shortly after the server has started nobody is taken for dead. */
static void wait_until_settled(void)
{
    while (postgres_ask("postgres", "SELECT (pg_postmaster_start_time() < now() - "
                                    "interval '11 seconds')::int") == 0)
        usleep(100000);
}

static void what_others_hold_stays_theirs(void **state)
{
    struct fixture *f = *state;
    struct store *a = crowd_open(f->url, 2), *b = crowd_open(f->url, 2);
    char id[ID_SIZE], hooked[ID_SIZE];
    struct job j;
    struct store_delivery d;
    int64_t count = -1;
    struct store_webhook hook = {"https://example.org", "", false};
    test_store_add(a, 1, "a.wav", id);
    CHECK(store_claim(a, NULL, "a", 10, 20, &j, e));
    job_release(&j);
    char name[64] = "b.wav";
    struct job other = crowd_job(name, 2);
    memcpy(hooked, other.id, ID_SIZE);
    CHECK(store_webhook_put(a, hooked, &hook, e));
    CHECK(store_insert(a, &other, "00", e));
    CHECK(store_cancel(a, hooked, 5, e));
    CHECK(store_webhook_claim(a, 10, 1000, &d, e));
    store_delivery_release(&d);
    wait_until_settled();
    CHECK(store_others(b, &count, e));
    assert_int_equal(count, 1);
    CHECK(store_requeue_expired(b, INT64_MAX, &count, e));
    assert_int_equal(count, 0);
    CHECK(store_webhook_recover(b, e));
    assert_int_equal(store_webhook_claim(b, 10, 1000, &d, NULL), ERR_NOT_FOUND);
    store_close(a);
    for (int i = 0; i < 100 && !count; i++) { /* until the server has noticed */
        CHECK(store_requeue_expired(b, INT64_MAX, &count, e));
        usleep(20000);
    }
    assert_int_equal(count, 1);
    CHECK(store_others(b, &count, e));
    assert_int_equal(count, 0);
    CHECK(store_webhook_recover(b, e));
    CHECK(store_webhook_claim(b, 10, 1000, &d, e));
    store_delivery_release(&d);
    store_close(b);
}

/* Whatever this process believed before: with a server, its time is what all agree on. */
static void the_servers_clock_counts(void **state)
{
    struct fixture *f = *state;
    static const int64_t wrong[] = {3600000, -3600000};
    int64_t right = clock_wall_ms() - clock_boot_ms(), count = -1;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        clock_agree_server(right + wrong[i]);
        struct store *s = crowd_open(f->url, 2);
        assert_in_range(clock_now_ms() - clock_wall_ms() + 1000, 0, 2000);
        clock_agree_server(right + wrong[i]);
        CHECK(store_requeue_expired(s, clock_lease_ms(), &count, e));
        assert_in_range(clock_now_ms() - clock_wall_ms() + 1000, 0, 2000);
        assert_in_range(clock_sure_ms() - clock_wall_ms() + 1000, 0, 2000);
        assert_in_range(clock_lease_ms() - clock_wall_ms() + 1000, 0, 2000);
        store_close(s);
    }
}

struct heard {
    pthread_mutex_t lock;
    int count, all;
    char lines[MOST][200];
};

static void on_news(void *arg, const struct store_news *n)
{
    struct heard *h = arg;
    pthread_mutex_lock(&h->lock);
    if (!n->job_id[0])
        h->all++;
    else if (h->count < MOST)
        (void)snprintf(h->lines[h->count++], sizeof h->lines[0], "%s %s %d %d %s",
                       n->job_id, n->deleted ? "deleted" : job_status_name(n->status),
                       n->attempt, n->progress, n->message);
    pthread_mutex_unlock(&h->lock);
}

static bool has_heard(struct heard *h, const char *id, const char *what)
{
    char line[200];
    (void)snprintf(line, sizeof line, "%s %s", id, what);
    for (int i = 0; i < 250; i++) {
        pthread_mutex_lock(&h->lock);
        bool found = false;
        for (int k = 0; k < h->count; k++)
            found |= !strcmp(h->lines[k], line);
        pthread_mutex_unlock(&h->lock);
        if (found)
            return true;
        usleep(20000);
    }
    return false;
}

static void others_hear_what_was_changed(void **state)
{
    struct fixture *f = *state;
    struct store *a = crowd_open(f->url, 2), *b = crowd_open(f->url, 2);
    struct heard own = {.lock = PTHREAD_MUTEX_INITIALIZER},
                 other = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct job j;
    char id[ID_SIZE], next[ID_SIZE];
    store_listen(a, on_news, &own);
    store_listen(b, on_news, &other);
    test_store_add(a, 1, "a.wav", id);
    CHECK(store_claim(a, NULL, "a", 10, 20, &j, e));
    struct store_checkpoint cp = {
        .next_frame = 1, .progress = 42, .message = "Grüße from here"};
    CHECK(store_checkpoint(a, id, 1, &cp, e));
    CHECK(store_fail(a, id, 1, 5, "x", "the reason", e));
    CHECK(store_remove(a, id, e));
    job_release(&j);
    assert_true(has_heard(&other, id, "pending 0 0 "));
    assert_true(has_heard(&other, id, "processing 1 0 Starting"));
    assert_true(has_heard(&other, id, "processing 1 42 Grüße from here"));
    assert_true(has_heard(&other, id, "failed 1 42 the reason"));
    assert_true(has_heard(&other, id, "deleted 1 42 Deleted"));
    assert_int_equal(own.count, 0);
    /* After a break it is to look at everything, and hears again. */
    postgres_run("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                             "WHERE usename = 'wt'");
    for (int i = 0; i < 250 && !other.all; i++)
        usleep(20000);
    assert_true(other.all > 0);
    test_store_add(a, 1, "b.wav", next);
    assert_true(has_heard(&other, next, "pending 0 0 "));
    store_listen(b, NULL, NULL);
    store_close(a);
    store_close(b);
}

/* A message that was cut within a character does not keep its job from ending. */
static void a_broken_text_is_mended(void **state)
{
    struct fixture *f = *state;
    struct store *s = crowd_open(f->url, 2);
    struct job j;
    struct job_list list;
    struct job_filter search = {.limit = 5, .search = "wav"};
    char id[ID_SIZE];
    test_store_add(s, 1, "\xFFgr\xC3\xBC \xC3.wav \xE2\x82", id);
    CHECK(store_claim(s, NULL, "me", 10, 20, &j, e));
    job_release(&j);
    CHECK(store_fail(s, id, 1, 5, "x", "the r\xC3\xA4\xC3", e));
    CHECK(store_get(s, id, &j, e));
    assert_string_equal(j.original_filename, "?gr\xC3\xBC ?.wav ??");
    assert_string_equal(j.error_message, "the r\xC3\xA4?");
    job_release(&j);
    CHECK(store_list(s, &search, &list, e));
    assert_int_equal(list.total, 1);
    job_list_release(&list);
    store_close(s);
}

int main(void)
{
    postgres_need();
    const struct CMUnitTest tests[] = {
        TEST(what_cannot_be_used_is_said_clearly),
        TEST(rights_that_are_missing_are_named),
        TEST(many_that_begin_at_once_migrate_once),
        TEST(other_versions_and_programs_are_refused),
        TEST(every_job_is_claimed_once),
        TEST(what_happens_once_happens_once),
        TEST(few_connections_serve_many),
        TEST(the_log_is_read_without_gaps),
        TEST(what_others_hold_stays_theirs),
        TEST(the_servers_clock_counts),
        TEST(others_hear_what_was_changed),
        TEST(a_broken_text_is_mended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
