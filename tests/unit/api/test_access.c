/* Who may, without a server: the table of routes, and credentials in a head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/access.h"
#include "api/api.h"
#include "api/openai.h"
#include "api/credentials.h"
#include "base/clock.h"
#include "base/mem.h"

#include <unistd.h>

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
    static const char *const open[] = {"GET /",
                                       "GET /assets/{name}",
                                       "GET /health/live",
                                       "GET /health/ready",
                                       "POST /session",
                                       "DELETE /session",
                                       "GET /docs",
                                       "GET /openapi.json",
                                       "OPTIONS /uploads",
                                       "OPTIONS /uploads/{id}"};
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

/* ---- refusals, without a server ---- */

struct fixture {
    char folder[64];
    struct config config;
    struct store *store;
    struct access *access;
    struct api api;
    struct http_request request;
};

/* As the server has it: errors look as the path's door has them. */
static void at(struct fixture *f, const char *path)
{
    f->request.path = path;
    f->request.response.shape = openai_error_shape(path);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const struct store_options options = {.exclusive = true};
    char url[128];
    (void)snprintf(f->folder, sizeof f->folder, "/tmp/access-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(url, sizeof url, "sqlite:///%s/app.db", f->folder);
    clearenv();
    setenv("RATE_LIMIT", "2/hour", 1);
    assert_int_equal(config_load(&f->config, NULL), 0);
    assert_int_equal(store_open(&f->store, url, &options, NULL), 0);
    assert_int_equal(access_new(&f->access, &f->config, f->store, NULL), 0);
    f->api = (struct api){.config = &f->config, .access = f->access};
    f->request = (struct http_request){
        .app = &f->api, .method = "POST", .path = "/transcribe", .client = "10.0.0.1"};
    http_response_init(&f->request.response);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"app.db", "app.db-wal", "app.db-shm",
                                        "app.db.lock"};
    struct fixture *f = *state;
    http_response_release(&f->request.response);
    access_free(f->access);
    store_close(f->store);
    config_release(&f->config);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(f->folder), 0);
    free(f);
    return 0;
}

static const char *header(const struct fixture *f, const char *name)
{
    const char *value = http_params_get(&f->request.response.headers, name);
    return value ? value : "";
}

static void body_has(const struct fixture *f, const char *text)
{
    if (!strstr(buf_cstr(&f->request.response.body), text))
        fail_msg("%s is not in %s", text, buf_cstr(&f->request.response.body));
}

static void each_door_has_its_shape_of_errors(void **state)
{
    struct fixture *f = *state;
    api_refuse(&f->request, 403, "insufficient_scope", "no \"%s\"", "admin");
    body_has(f, "{\"detail\":\"No \\\"admin\\\"\",\"error_code\":"
                "\"insufficient_scope\",\"timestamp\":");
    at(f, "/v1/models");
    api_refuse(&f->request, 401, "unauthorized", "no key");
    body_has(f, "{\"error\":{\"message\":\"No key\",\"type\":"
                "\"invalid_request_error\",\"param\":null,"
                "\"code\":\"invalid_api_key\"}}");
    at(f, "/v1x");
    api_refuse(&f->request, 401, "unauthorized", "no key");
    body_has(f, "\"error_code\":\"unauthorized\"");
}

static void the_rate_is_told_and_kept(void **state)
{
    struct fixture *f = *state;
    const struct caller a = {.id = "a"}, b = {.id = "b"};
    assert_int_equal(api_take_allowance(&f->request, &a), 0);
    assert_string_equal(header(f, "RateLimit-Limit"), "2");
    assert_string_equal(header(f, "RateLimit-Remaining"), "1");
    assert_string_equal(header(f, "RateLimit-Reset"), "1800");
    f->request.client = "10.0.0.2";
    assert_int_equal(api_take_allowance(&f->request, &a), 0);
    assert_string_equal(header(f, "RateLimit-Remaining"), "0");
    at(f, "/v1/audio/transcriptions");
    assert_int_equal(api_take_allowance(&f->request, &a), ERR_STATE);
    assert_int_equal(f->request.response.status, 429);
    assert_string_equal(header(f, "Retry-After"), "120");
    body_has(f, "\"code\":\"rate_limit_exceeded\"");
    body_has(f, "with this key");
    /* The address has used up both of its own with that. */
    at(f, "/transcribe");
    assert_int_equal(api_take_allowance(&f->request, &b), ERR_STATE);
    assert_string_equal(header(f, "Retry-After"), "1800");
    body_has(f, "\"error_code\":\"rate_limited\"");
    body_has(f, "from this address");
    f->request.client = "10.0.0.3";
    assert_int_equal(api_take_allowance(&f->request, &b), 0);
    assert_int_equal(api_take_allowance(&f->request, NULL), 0);
}

static void use_a_minute(struct fixture *f, const char *caller)
{
    char name[] = "a.wav", model[] = "tiny", language[] = "auto", task[] = "transcribe",
         none[] = "{}", whose[32];
    struct job j = {.original_filename = name,
                    .filename = name,
                    .model = model,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .caller = whose,
                    .file_bytes = 5};
    struct job claimed;
    int64_t now_ms = clock_wall_ms();
    (void)snprintf(whose, sizeof whose, "%s", caller);
    id_new(j.id);
    assert_int_equal(store_insert(f->store, &j, "00", NULL), 0);
    assert_int_equal(store_claim(f->store, NULL, "w", now_ms, now_ms, &claimed, NULL), 0);
    assert_int_equal(store_decoded(f->store, j.id, claimed.attempt, 60, 1, "", NULL), 0);
    job_release(&claimed);
}

static void the_minutes_of_a_day_end(void **state)
{
    struct fixture *f = *state;
    const struct caller a = {.id = "a", .minutes_per_day = 1};
    const struct caller b = {.id = "b", .minutes_per_day = 1};
    use_a_minute(f, "a");
    assert_int_equal(api_take_allowance(&f->request, &a), ERR_STATE);
    body_has(f, "\"error_code\":\"quota_exceeded\"");
    int64_t wait = strtoll(header(f, "Retry-After"), NULL, 10);
    int64_t left = 86400 - clock_wall_ms() / 1000 % 86400;
    assert_true(wait - left >= -5 && wait - left <= 5);
    at(f, "/v1/audio/transcriptions");
    f->request.client = "10.0.0.2";
    assert_int_equal(api_take_allowance(&f->request, &a), ERR_STATE);
    body_has(f, "\"code\":\"insufficient_quota\"");
    assert_true(strtoll(header(f, "Retry-After"), NULL, 10) <= 120);
    assert_int_equal(api_take_allowance(&f->request, &b), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_says_who_may),
        cmocka_unit_test(only_these_routes_are_public),
        cmocka_unit_test(whatever_changes_something_is_not_for_readers),
        cmocka_unit_test(reads_bearer_tokens),
        cmocka_unit_test(reads_cookies),
        cmocka_unit_test(reads_a_proxys_scopes),
        TEST(each_door_has_its_shape_of_errors),
        TEST(the_rate_is_told_and_kept),
        TEST(the_minutes_of_a_day_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
