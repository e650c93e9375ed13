/* Who may, without a server: the table of routes, and credentials in a head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/access.h"
#include "api/api.h"
#include "api/credentials.h"
#include "base/mem.h"

static void every_route_says_who_may(void **state)
{
    (void)state;
    size_t count;
    const struct http_route *routes = api_routes(&count);
    assert_true(count > 10);
    for (size_t i = 0; i < count; i++)
        if (routes[i].access < API_PUBLIC || routes[i].access > API_ADMIN)
            fail_msg("%s %s has no access: see enum api_access", routes[i].method,
                     routes[i].pattern);
}

/* What is open to everybody is listed here as well: nothing gets public by a slip. */
static void only_these_routes_are_public(void **state)
{
    (void)state;
    static const char *const open[] = {
        "GET /",         "GET /assets/{name}", "GET /health/live", "GET /health/ready",
        "POST /session", "DELETE /session",    "GET /docs",        "GET /openapi.json"};
    size_t count;
    const struct http_route *routes = api_routes(&count);
    for (size_t i = 0; i < count; i++) {
        char name[128];
        size_t k = 0;
        if (routes[i].access != API_PUBLIC)
            continue;
        (void)snprintf(name, sizeof name, "%s %s", routes[i].method, routes[i].pattern);
        while (k < ARRAY_LENGTH(open) && strcmp(open[k], name) != 0)
            k++;
        if (k == ARRAY_LENGTH(open))
            fail_msg("%s is public, and not on the list of what may be", name);
    }
}

static void whatever_changes_something_is_not_for_readers(void **state)
{
    (void)state;
    size_t count;
    const struct http_route *routes = api_routes(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(routes[i].method, "GET") != 0 && routes[i].access == API_READ)
            fail_msg("%s %s is open to who may only read", routes[i].method,
                     routes[i].pattern);
}

static void reads_bearer_tokens(void **state)
{
    (void)state;
    char out[CREDENTIAL_MAX], longest[2000];
    assert_true(credentials_bearer("Bearer abc", out));
    assert_string_equal(out, "abc");
    assert_true(credentials_bearer("bearer   abc \t", out));
    assert_string_equal(out, "abc");
    assert_false(credentials_bearer(NULL, out));
    assert_false(credentials_bearer("", out));
    assert_false(credentials_bearer("Bearer", out));
    assert_false(credentials_bearer("Bearer ", out));
    assert_false(credentials_bearer("Basic YTpi", out));
    assert_false(credentials_bearer("Bearerabc", out));
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest, "Bearer ", 7);
    assert_true(credentials_bearer(longest, out));
    assert_int_equal(strlen(out), CREDENTIAL_MAX - 1);
}

static void reads_cookies(void **state)
{
    (void)state;
    char out[CREDENTIAL_MAX];
    assert_true(credentials_cookie("wt_session=x1", "wt_session", out));
    assert_string_equal(out, "x1");
    assert_true(credentials_cookie("a=b; wt_session=x2 ; c=d", "wt_session", out));
    assert_string_equal(out, "x2");
    assert_true(credentials_cookie(";;  ;wt_session=x3", "wt_session", out));
    assert_string_equal(out, "x3");
    static const char *const none[] = {"",
                                       "wt_session",
                                       "wt_session=",
                                       "wt_session=  ",
                                       "my_wt_session=x",
                                       "wt_sessions=x",
                                       "WT_SESSION=x",
                                       "a=wt_session=x",
                                       ";;;"};
    for (size_t i = 0; i < ARRAY_LENGTH(none); i++)
        assert_false(credentials_cookie(none[i], "wt_session", out));
    assert_false(credentials_cookie(NULL, "wt_session", out));
}

static void reads_a_proxys_scopes(void **state)
{
    (void)state;
    assert_int_equal(credentials_scopes(NULL), 0);
    assert_int_equal(credentials_scopes(""), 0);
    assert_int_equal(credentials_scopes("read"), KEY_READ);
    assert_int_equal(credentials_scopes("staff, admin,  read"), KEY_ADMIN | KEY_READ);
    assert_int_equal(credentials_scopes("readers administrators Admin"), 0);
    assert_int_equal(credentials_scopes(",,\t, transcribe ,"), KEY_TRANSCRIBE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_says_who_may),
        cmocka_unit_test(only_these_routes_are_public),
        cmocka_unit_test(whatever_changes_something_is_not_for_readers),
        cmocka_unit_test(reads_bearer_tokens),
        cmocka_unit_test(reads_cookies),
        cmocka_unit_test(reads_a_proxys_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
