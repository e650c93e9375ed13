/* The schema's steps: from nothing, from an older version, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "base/mem.h"
#include "store/migrations.h"
#include "store/schema.h"
#include "store/sqlite.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

struct fixture {
    char folder[PATH_MAX];
    char path[PATH_MAX + 16];
    struct sqlite_conn conn;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_folder_make(f->folder);
    (void)snprintf(f->path, sizeof f->path, "%s/app.db", f->folder);
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    fclose(file);
    CHECK(sqlite_conn_open(&f->conn, f->path, true, e));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    sqlite_conn_close(&f->conn);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

/* How many rows `sql` counts; -1 when it cannot be asked. */
static int count(struct fixture *f, const char *sql)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(f->conn.db, sql, -1, &stmt, NULL))
        return -1;
    int n = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int(stmt, 0) : -1;
    sqlite3_finalize(stmt);
    return n;
}

static int open_store(struct fixture *f, struct err *e)
{
    struct store *s = NULL;
    struct store_options options = {0};
    int status = sqlite_store_open(&s, f->path, &options, e);
    store_close(s);
    return status;
}

static void steps_are_in_rising_order(void **state)
{
    (void)state;
    size_t n;
    const struct migration *steps = migrations_all(&n);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        assert_true(steps[i].version > (i ? steps[i - 1].version : 0));
}

static void every_older_version_is_brought_up_to_date(void **state)
{
    struct fixture *f = *state;
    size_t n;
    const struct migration *steps = migrations_all(&n);
    CHECK(migrations_apply(&f->conn, steps, 1, 100, e));
    CHECK(
        sqlite_conn_script(&f->conn,
                           "INSERT INTO jobs (id, original_filename, filename, "
                           "file_bytes, sha256, model, language_asked, task, options, "
                           "created_ms) VALUES ('0190b5d0-aaaa-7bbb-8ccc-0123456789ab',"
                           " 'a.wav', 'x', 5, '00', 'tiny', 'auto', 'transcribe', '{}', "
                           "7)",
                           e));
    for (size_t upto = 1; upto <= n; upto++) {
        CHECK(migrations_apply(&f->conn, steps, upto, 200, e));
        assert_int_equal(count(f, "SELECT COUNT(*) FROM schema_version"), upto);
    }
    CHECK(migrations_apply(&f->conn, steps, n, 300, e)); /* nothing left to do */
    assert_int_equal(count(f, "SELECT MAX(applied_ms) FROM schema_version"),
                     n > 1 ? 200 : 100);

    struct store *s;
    struct job j;
    struct store_options options = {0};
    CHECK(sqlite_store_open(&s, f->path, &options, e));
    CHECK(store_get(s, "0190b5d0-aaaa-7bbb-8ccc-0123456789ab", &j, e));
    assert_string_equal(j.original_filename, "a.wav");
    assert_int_equal(j.created_ms, 7);
    assert_true(j.audio_present); /* what the second step added has its default */
    job_release(&j);
    struct job_filter filter = {.limit = 5, .search = "wav"};
    struct job_list list;
    CHECK(store_list(s, &filter, &list, e)); /* what was there is found */
    assert_int_equal(list.total, 1);
    job_list_release(&list);
    store_close(s);
}

static void a_step_that_fails_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    static const struct migration steps[] = {
        {1, "good", "CREATE TABLE one (x); INSERT INTO one VALUES (1);"},
        {2, "bad", "CREATE TABLE two (x); INSERT INTO nowhere VALUES (1);"},
    };
    assert_true(migrations_apply(&f->conn, steps, 2, 1, NULL) < 0);
    assert_int_equal(count(f, "SELECT MAX(version) FROM schema_version"), 1);
    assert_int_equal(count(f, "SELECT COUNT(*) FROM one"), 1);
    assert_int_equal(count(f, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'two'"),
                     0);
}

/* A command of this version beside a service of an older one. */
static void the_schema_stays_while_a_service_runs(void **state)
{
    struct fixture *f = *state;
    char lock[PATH_MAX + 32];
    size_t n;
    const struct migration *steps = migrations_all(&n);
    CHECK(migrations_apply(&f->conn, steps, n - 1, 1, e));
    (void)snprintf(lock, sizeof lock, "%s.lock", f->path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    struct err why;
    assert_int_equal(open_store(f, &why), ERR_STATE);
    assert_non_null(strstr(why.message, "older version"));
    assert_int_equal(count(f, "SELECT COUNT(*) FROM schema_version"), (int)n - 1);
    close(fd);
    CHECK(open_store(f, e));
    assert_int_equal(count(f, "SELECT COUNT(*) FROM schema_version"), (int)n);
    /* Where there is nothing to change, both may be there. */
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    CHECK(open_store(f, e));
    close(fd);
}

static void a_newer_version_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t n;
    const struct migration *steps = migrations_all(&n);
    CHECK(migrations_apply(&f->conn, steps, n, 1, e));
    CHECK(sqlite_conn_script(&f->conn,
                             "INSERT INTO schema_version (version, name, applied_ms) "
                             "VALUES (99, 'x', 1)",
                             e));
    struct err why;
    assert_int_equal(open_store(f, &why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why.message, "newer version"));
    assert_non_null(strstr(why.message, f->path));
}

/* What a version does not know, but may run with. */
static void a_newer_version_that_allows_this_one_is_not_refused(void **state)
{
    struct fixture *f = *state;
    size_t n;
    const struct migration *steps = migrations_all(&n);
    int newest = steps[n - 1].version;
    struct migration more[64];
    assert_true(n + 2 < 64);
    memcpy(more, steps, n * sizeof *more);
    more[n] =
        (struct migration){newest + 1, "more", "ALTER TABLE jobs ADD COLUMN extra TEXT;",
                           newest, "ALTER TABLE jobs DROP COLUMN extra;"};
    more[n + 1] =
        (struct migration){newest + 2, "less", "DROP TABLE waveforms;", newest + 1, NULL};
    CHECK(migrations_apply(&f->conn, more, n + 1, 1, e));
    CHECK(open_store(f, e));
    struct store_schema now;
    CHECK(sqlite_schema_look(f->path, &now, e));
    assert_int_equal(now.version, newest + 1);
    assert_int_equal(now.known, newest);
    assert_int_equal(now.needs, newest);
    /* A step of which it is said that this version cannot run with it. */
    CHECK(migrations_apply(&f->conn, more, n + 2, 1, e));
    struct err why;
    assert_int_equal(open_store(f, &why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why.message, "migrate down"));
    /* That one has no way back, and nothing is taken back for its sake. */
    assert_int_equal(migrations_undo(&f->conn, more, n + 2, newest, &why),
                     ERR_UNSUPPORTED);
    assert_int_equal(count(f, "SELECT MAX(version) FROM schema_version"), newest + 2);
}

static void a_step_is_taken_back_and_made_again(void **state)
{
    struct fixture *f = *state;
    static const struct migration steps[] = {
        {1, "one", "CREATE TABLE one (x);"},
        {2, "two", "ALTER TABLE one ADD COLUMN y; INSERT INTO one VALUES (1, 2);", 1,
         "ALTER TABLE one DROP COLUMN y;"},
        {3, "three", "CREATE TABLE three (x);", 2, "DROP TABLE three;"},
    };
    CHECK(migrations_apply(&f->conn, steps, 3, 1, e));
    CHECK(migrations_undo(&f->conn, steps, 3, 1, e));
    assert_int_equal(count(f, "SELECT MAX(version) FROM schema_version"), 1);
    assert_int_equal(count(f, "SELECT COUNT(*) FROM one WHERE x = 1"), 1);
    assert_int_equal(count(f, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'three'"),
                     0);
    struct err why;
    assert_int_equal(migrations_undo(&f->conn, steps, 3, 0, &why), ERR_UNSUPPORTED);
    CHECK(migrations_apply(&f->conn, steps, 3, 1, e));
    assert_int_equal(count(f, "SELECT MAX(version) FROM schema_version"), 3);
    /* Who does not know a step cannot take it back. */
    assert_int_equal(migrations_undo(&f->conn, steps, 2, 1, &why), ERR_UNSUPPORTED);
}

/* First expand, then contract, and always a way back. */
static void new_steps_keep_the_rules(void **state)
{
    (void)state;
    size_t n;
    const struct migration *steps = migrations_all(&n);
    for (size_t i = 14; i < n; i++) {
        assert_non_null(steps[i].down);
        assert_true(steps[i].oldest > 0 && steps[i].oldest < steps[i].version);
    }
}

static void another_programs_database_is_refused(void **state)
{
    struct fixture *f = *state;
    CHECK(sqlite_conn_script(&f->conn, "CREATE TABLE bookmarks (url)", e));
    struct err why;
    assert_int_equal(open_store(f, &why), ERR_INVALID);
    assert_non_null(strstr(why.message, "another program"));
    assert_int_equal(count(f, "SELECT COUNT(*) FROM sqlite_master"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_in_rising_order),
        cmocka_unit_test(new_steps_keep_the_rules),
        TEST(a_newer_version_that_allows_this_one_is_not_refused),
        TEST(a_step_is_taken_back_and_made_again),
        TEST(every_older_version_is_brought_up_to_date),
        TEST(a_step_that_fails_leaves_nothing_behind),
        TEST(the_schema_stays_while_a_service_runs),
        TEST(a_newer_version_is_refused),
        TEST(another_programs_database_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
