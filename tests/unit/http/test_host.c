#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/host.h"

#include <unistd.h>

static void knows_names_that_no_stranger_can_have(void **state)
{
    (void)state;
    static const char *const ours[] = {
        "",
        "localhost",
        "localhost:8000",
        "LOCALHOST.:8000",
        "a.localhost",
        "127.0.0.1",
        "127.0.0.1:8000",
        "192.168.1.5:80",
        "[::1]",
        "[::1]:8000",
        "[fe80::1]:8000",
        "whisper:8000",
        "whisper-transcriber",
        "nas.local",
        "whisper.media.svc.cluster.local:8000",
        "host.docker.internal",
        "nas.home.arpa",
    };
    static const char *const strangers[] = {
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "1.2.3.4.5",
        "127.1",
        "0x7f.0.0.1",
        "evillocal.example",
        "xlocal.evil",
        "a.b.",
        "[::1]evil.example",
        "[::1",
        "a:b",
        "localhost:80evil.example",
        "localhost@evil.example",
    };
    assert_true(http_host_is_ours(NULL, NULL));
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (!http_host_is_ours(ours[i], NULL))
            fail_msg("%s is ours", ours[i]);
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        if (http_host_is_ours(strangers[i], "ours.example"))
            fail_msg("%s is a stranger's", strangers[i]);
    char own[256] = "";
    assert_int_equal(gethostname(own, sizeof own - 1), 0);
    assert_true(http_host_is_ours(own, NULL));
}

static void takes_what_the_operator_lists(void **state)
{
    (void)state;
    static const char list[] = "a.example, .b.example,c.example";
    assert_true(http_host_is_ours("a.example:8000", list));
    assert_true(http_host_is_ours("A.Example.", list));
    assert_false(http_host_is_ours("x.a.example", list));
    assert_true(http_host_is_ours("b.example", list));
    assert_true(http_host_is_ours("x.y.b.example", list));
    assert_false(http_host_is_ours("xb.example", list));
    assert_false(http_host_is_ours("b.example.evil.example", list));
    assert_true(http_host_is_ours("c.example", list));
    assert_true(http_host_is_ours("evil.example", "*"));
    assert_true(http_host_is_ours("[::1", "*"));
    char long_name[600];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_false(http_host_is_ours(long_name, list));
    assert_false(http_host_is_ours("evil.example", ""));
    assert_false(http_host_is_ours("evil.example", ", ."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_names_that_no_stranger_can_have),
        cmocka_unit_test(takes_what_the_operator_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
