#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/json_body.h"

HTTP_JSON_BODY(small_body, 64);

static json_t *parse(const char *text, struct err *e)
{
    *e = (struct err){0};
    return http_json_parse(text, strlen(text), e);
}

static void reads_an_object(void **state)
{
    (void)state;
    struct err e;
    json_t *object = parse(" {\"name\": \"a\", \"n\": [1, 2.5, null]}\n", &e);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "name")), "a");
    assert_int_equal(json_array_size(json_object_get(object, "n")), 3);
    json_decref(object);
}

static void refuses(const char *text, const char *why)
{
    struct err e;
    json_t *object = parse(text, &e);
    assert_null(object);
    assert_int_equal(e.code, ERR_INVALID);
    if (!strstr(e.message, why))
        fail_msg("\"%s\" is refused with \"%s\"", text, e.message);
}

static void refuses_what_says_two_things_or_none(void **state)
{
    (void)state;
    refuses("", "empty");
    refuses("{\"a\":1,\"a\":2}", "duplicate");
    refuses("{\"a\":1} {\"a\":2}", "line 1");
    refuses("{\"a\":\"\\u0000\"}", "line 1");
    refuses("{\"a\":\"\xff\"}", "line 1");
    refuses("{\"a\":1", "line 1");
    refuses("[1]", "begin with {");
    refuses("\"text\"", "line 1");
}

/* {"a":[[[…]]]} with `depth` brackets in all. */
static char *nested(size_t depth)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_str(&b, "{\"a\":");
    for (size_t i = 1; i < depth; i++)
        buf_char(&b, '[');
    for (size_t i = 1; i < depth; i++)
        buf_char(&b, ']');
    buf_str(&b, "}");
    return buf_take(&b);
}

static void refuses_what_is_nested_too_deep(void **state)
{
    (void)state;
    struct err e;
    char *good = nested(HTTP_JSON_DEPTH), *deep = nested(HTTP_JSON_DEPTH + 1);
    char *huge = nested(100000);
    json_t *object = parse(good, &e);
    assert_non_null(object);
    json_decref(object);
    refuses(deep, "nested");
    refuses(huge, "nested");
    /* Brackets in a string are text. */
    object = parse("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"}", &e);
    assert_non_null(object);
    json_decref(object);
    free(good);
    free(deep);
    free(huge);
}

static void collects_the_pieces(void **state)
{
    (void)state;
    struct http_request r = {0};
    http_response_init(&r.response);
    assert_int_equal(small_body.max_bytes(&r), 64);
    /* Without a connection there is no Content-Type. */
    assert_int_equal(small_body.begin(&r), ERR_UNSUPPORTED);
    assert_int_equal(r.response.status, 415);
    assert_null(http_json_body(&r));
    assert_int_equal(r.response.status, 400);
    small_body.done(&r);
    http_response_release(&r.response);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_an_object),
        cmocka_unit_test(refuses_what_says_two_things_or_none),
        cmocka_unit_test(refuses_what_is_nested_too_deep),
        cmocka_unit_test(collects_the_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
