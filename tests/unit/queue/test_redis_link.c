/* Where a Redis server is, and the connection to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../store/store_test.h"
#include "redis_server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "queue/redis_address.h"

#include <signal.h>

struct expected {
    const char *url, *host, *path, *user, *password;
    int port, database;
    bool tls;
};

static void check_text(const char *got, const char *expected)
{
    if (!expected)
        assert_null(got);
    else
        assert_string_equal(got, expected);
}

static void addresses_are_read(void **state)
{
    (void)state;
    static const struct expected list[] = {
        {"redis://localhost", "localhost", .port = 6379},
        {"redis://localhost/", "localhost", .port = 6379},
        {"redis://10.0.0.1:7000/3", "10.0.0.1", .port = 7000, .database = 3},
        {"redis://[::1]:7000", "[::1]", .port = 7000},
        {"redis://:secret@host", "host", .password = "secret", .port = 6379},
        {"redis://me:s%40%3A%2Fx@host:1/2", "host", .user = "me", .password = "s@:/x",
         .port = 1, .database = 2},
        {"rediss://host", "host", .port = 6379, .tls = true},
        {"unix:///run/redis.sock", .path = "/run/redis.sock"},
        {"unix:///run/redis.sock?db=4", .path = "/run/redis.sock", .database = 4},
        {"unix://:pw@/run/r", .path = "/run/r", .password = "pw"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(list); i++) {
        const struct expected *x = &list[i];
        struct redis_address a;
        CHECK(redis_address_parse(&a, x->url, NULL, e));
        check_text(a.host, x->host);
        check_text(a.path, x->path);
        check_text(a.user, x->user);
        check_text(a.password, x->password);
        if (!x->path)
            assert_int_equal(a.port, x->port);
        assert_int_equal(a.database, x->database);
        assert_int_equal(a.tls, x->tls);
        redis_address_release(&a);
    }
}

static void others_are_refused_without_being_repeated(void **state)
{
    (void)state;
    static const char *const list[] = {"http://hunter2",
                                       "redis://",
                                       "redis://:hunter2@/1",
                                       "redis://hunter2/x",
                                       "redis://hunter2/-1",
                                       "redis://hunter2/99999999999",
                                       "redis://hunter2:99999/0",
                                       "unix://",
                                       "unix:///",
                                       "unix:///hunter2?x=1",
                                       "unix:///hunter2?db=x",
                                       "unix://hunter2/run/r",
                                       "redis://user@hunter2",
                                       "redis://a:hunter2%00@host",
                                       "redis://a:hunter2%0A@host",
                                       "redis://host?hunter2=1",
                                       "redis://a b:hunter2@host"};
    for (size_t i = 0; i < ARRAY_LENGTH(list); i++) {
        struct redis_address a;
        struct err e = {0};
        int status = redis_address_parse(&a, list[i], NULL, &e);
        if (status != ERR_INVALID)
            fail_msg("%s: %d", list[i], status);
        assert_non_null(strstr(e.message, "REDIS_URL"));
        assert_null(strstr(e.message, "hunter2"));
    }
}

static void what_is_shown_has_no_password(void **state)
{
    (void)state;
    char text[200];
    struct redis_address a;
    CHECK(redis_address_parse(&a, "rediss://me:hunter2@host:1/2", NULL, e));
    assert_string_equal(redis_address_print(&a, text, sizeof text), "rediss://host:1/2");
    redis_address_release(&a);
}

static void versions_before_5_are_refused(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(redis_check_version("# Server\r\nredis_version:5.0.0\r\n", &e), 0);
    assert_int_equal(redis_check_version("redis_version:10.1.0\r\n", &e), 0);
    assert_int_equal(redis_check_version("redis_version:7.2.4\r\nserver_name:valkey\r\n"
                                         "valkey_version:8.0.1\r\n",
                                         &e),
                     0);
    assert_int_equal(redis_check_version("redis_version:4.0.14\r\nredis_mode:x\r\n", &e),
                     ERR_UNSUPPORTED);
    assert_non_null(strstr(e.message, "Redis 4.0.14 is too old: install Redis 5 or"));
    assert_int_equal(redis_check_version("", &e), ERR_UNSUPPORTED);
}

static int try_link(const char *url, struct err *e)
{
    struct redis_address a;
    struct redis_link *l = NULL;
    assert_int_equal(redis_address_parse(&a, url, NULL, e), 0);
    int status = redis_link_open(&l, &a, e);
    redis_link_close(l);
    redis_address_release(&a);
    return status;
}

static void passwords_and_databases_are_told_apart(void **state)
{
    (void)state;
    struct redis_server s = {0};
    struct err why = {0};
    char url[PATH_MAX + 100];
    if (!redis_server_present())
        skip();
    test_folder_make(s.folder);
    redis_server_start(&s, "--requirepass", "hunter2");
    assert_int_equal(try_link(s.url, &why), ERR_DENIED);
    (void)snprintf(url, sizeof url, "unix://:wrong@%s/s", s.folder);
    assert_int_equal(try_link(url, &why), ERR_DENIED);
    assert_null(strstr(why.message, "wrong@"));
    (void)snprintf(url, sizeof url, "unix://:hunter2@%s/s", s.folder);
    CHECK(try_link(url, e));
    (void)snprintf(url, sizeof url, "unix://default:hunter2@%s/s?db=3", s.folder);
    CHECK(try_link(url, e));
    (void)snprintf(url, sizeof url, "unix://default:hunter2@%s/s?db=300", s.folder);
    assert_int_equal(try_link(url, &why), ERR_INVALID);
    assert_null(strstr(why.message, "hunter2"));
    redis_server_kill(&s);
    assert_int_equal(try_link(url, &why), ERR_NETWORK);
    test_folder_remove(s.folder);
}

static void a_silent_server_is_waited_for_in_bounds(void **state)
{
    (void)state;
    struct redis_server s = {0};
    struct redis_address a;
    struct redis_link *l = NULL;
    struct redis_words w = {0};
    struct err why = {0};
    if (!redis_server_present())
        skip();
    test_folder_make(s.folder);
    redis_server_start(&s, NULL, NULL);
    CHECK(redis_address_parse(&a, s.url, NULL, e));
    CHECK(redis_link_open(&l, &a, e));
    kill(s.pid, SIGSTOP);
    redis_words_begin(&w, "PING");
    int64_t began = clock_wall_ms();
    assert_int_equal(redis_link_ask(l, &w, 200, NULL, &why), ERR_TIMEOUT);
    assert_in_range(clock_wall_ms() - began, 190, 1500);
    kill(s.pid, SIGCONT);
    /* The answer that comes late is not taken for that of another question. */
    assert_int_equal(redis_link_ask(l, &w, 2000, NULL, &why), ERR_NETWORK);
    redis_link_close(l);
    redis_address_release(&a);
    redis_words_release(&w);
    redis_server_kill(&s);
    test_folder_remove(s.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(others_are_refused_without_being_repeated),
        cmocka_unit_test(what_is_shown_has_no_password),
        cmocka_unit_test(versions_before_5_are_refused),
        cmocka_unit_test(passwords_and_databases_are_told_apart),
        cmocka_unit_test(a_silent_server_is_waited_for_in_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
