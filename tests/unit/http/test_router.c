#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "http/router.h"
#include "http/server.h"

static const struct http_route routes[] = {
    {"GET", "/", NULL},
    {"GET", "/jobs", NULL},
    {"POST", "/jobs", NULL},
    {"GET", "/jobs/{id}", NULL},
    {"DELETE", "/jobs/{id}", NULL},
    {"GET", "/jobs/{id}/files/{name}", NULL},
};

static const struct http_route *route;
static struct http_params captures;
static struct buf allow;

static enum http_match find(const char *method, const char *path)
{
    route = NULL;
    http_params_release(&captures);
    buf_reset(&allow);
    return http_router_find(routes, ARRAY_LENGTH(routes), method, path, &route, &captures,
                            &allow);
}

static void finds_routes(void **state)
{
    (void)state;
    assert_int_equal(find("GET", "/"), HTTP_MATCH);
    assert_ptr_equal(route, &routes[0]);
    assert_int_equal(find("HEAD", "/jobs"), HTTP_MATCH);
    assert_ptr_equal(route, &routes[1]);
    assert_int_equal(find("DELETE", "/jobs/x"), HTTP_MATCH);
    assert_ptr_equal(route, &routes[4]);
    assert_int_equal(find("GET", "/jobs/a%2Fb/files/%C3%A4"), HTTP_MATCH);
    assert_string_equal(http_params_get(&captures, "id"), "a/b");
    assert_string_equal(http_params_get(&captures, "name"), "\xC3\xA4");
    assert_int_equal(captures.count, 2);
    assert_int_equal(find("GET", "/%6Aobs"), HTTP_MATCH);
}

static void finds_nothing(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",          "jobs", "/jobs/",    "//jobs",         "/jobs//",       "/Jobs",
        "/jobs%2Fx", "/x",   "/jobs/a/b", "/jobs/a/files/", "/jobs/../jobs", "*"};
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++)
        assert_int_equal(find("GET", paths[i]), HTTP_NO_PATH);
    assert_int_equal(captures.count, 0);
}

static void names_the_methods(void **state)
{
    (void)state;
    assert_int_equal(find("PUT", "/jobs"), HTTP_NO_METHOD);
    assert_string_equal(buf_cstr(&allow), "GET, HEAD, POST");
    assert_int_equal(find("POST", "/jobs/x"), HTTP_NO_METHOD);
    assert_string_equal(buf_cstr(&allow), "GET, HEAD, DELETE");
    assert_int_equal(find("get", "/jobs"), HTTP_NO_METHOD);
}

static void refuses_bad_paths(void **state)
{
    (void)state;
    assert_int_equal(find("GET", "/jobs/%"), HTTP_BAD_PATH);
    assert_int_equal(find("GET", "/jobs/%00"), HTTP_BAD_PATH);
    assert_int_equal(find("GET", "/jobs/a%ff"), HTTP_BAD_PATH);
    char path[2000] = "/jobs/";
    memset(path + 6, 'a', 1900);
    path[1906] = '\0';
    assert_int_equal(find("GET", path), HTTP_NO_PATH);
}

int main(void)
{
    buf_init(&allow, 256);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_routes),
        cmocka_unit_test(finds_nothing),
        cmocka_unit_test(names_the_methods),
        cmocka_unit_test(refuses_bad_paths),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_params_release(&captures);
    buf_release(&allow);
    return failed;
}
