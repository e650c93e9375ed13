/* The description of the interface says what the program does: every route is in it, and
 * nothing else; every option is in it, with its limits and its default. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/access.h"
#include "api/api.h"
#include "base/mem.h"
#include "job/options.h"
#include "web/assets.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>

static json_t *root;

static int load(void **state)
{
    (void)state;
    const struct web_asset *asset = web_asset_find("openapi.json");
    json_error_t why;
    if (!asset)
        return -1;
    root = json_loadb((const char *)asset->bytes, asset->length, JSON_REJECT_DUPLICATES,
                      &why);
    if (!root)
        print_error("openapi.json:%d: %s\n", why.line, why.text);
    return root ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(root);
    return 0;
}

/* ---- routes ---- */

static void lower(char out[16], const char *method)
{
    size_t i = 0;
    for (; method[i] && i < 15; i++)
        out[i] = (char)tolower((unsigned char)method[i]);
    out[i] = '\0';
}

static const json_t *operation(const char *method, const char *pattern)
{
    char name[16];
    lower(name, method);
    return json_object_get(json_object_get(json_object_get(root, "paths"), pattern),
                           name);
}

static bool is_route(const char *method, const char *path)
{
    size_t count;
    const struct http_route *routes = api_routes(&count);
    char name[16];
    for (size_t i = 0; i < count; i++) {
        lower(name, routes[i].method);
        if (!strcmp(name, method) && !strcmp(routes[i].pattern, path))
            return true;
    }
    return false;
}

static void every_route_is_described(void **state)
{
    size_t count, missing = 0;
    const struct http_route *routes = api_routes(&count);
    (void)state;
    for (size_t i = 0; i < count; i++)
        if (!operation(routes[i].method, routes[i].pattern)) {
            print_error("not in openapi.json: %s %s\n", routes[i].method,
                        routes[i].pattern);
            missing++;
        }
    assert_int_equal(missing, 0);
}

static void nothing_else_is_described(void **state)
{
    const char *path, *method;
    json_t *item, *value;
    size_t strange = 0;
    (void)state;
    json_object_foreach(json_object_get(root, "paths"), path, item)
    {
        json_object_foreach(item, method, value)
        {
            if (!strcmp(method, "parameters") || is_route(method, path))
                continue;
            print_error("in openapi.json, but no route: %s %s\n", method, path);
            strange++;
        }
    }
    assert_int_equal(strange, 0);
}

static const json_t *follow(const json_t *node)
{
    const char *ref = json_string_value(json_object_get(node, "$ref"));
    if (!ref)
        return node;
    assert_int_equal(strncmp(ref, "#/", 2), 0);
    char path[200];
    assert_true(strlen(ref + 2) < sizeof path);
    memcpy(path, ref + 2, strlen(ref + 2) + 1);
    const json_t *at = root;
    char *rest = path;
    for (char *part; (part = strsep(&rest, "/"));)
        at = json_object_get(at, part);
    if (!at)
        print_error("%s names nothing\n", ref);
    assert_non_null(at);
    return at;
}

static void check_refs(const json_t *node)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_object_get(node, "$ref"))
        (void)follow(node);
    if (json_is_object(node))
        json_object_foreach((json_t *)node, key, value) check_refs(value);
    json_array_foreach(node, i, value) check_refs(value);
}

static void every_reference_leads_somewhere(void **state)
{
    (void)state;
    check_refs(root);
}

static void has_path_parameter(const json_t *op, const char *name)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(op, "parameters"), i, p)
    {
        const json_t *q = follow(p);
        if (!strcmp(json_string_value(json_object_get(q, "name")), name)) {
            assert_string_equal(json_string_value(json_object_get(q, "in")), "path");
            assert_true(json_is_true(json_object_get(q, "required")));
            return;
        }
    }
    fail_msg("the part {%s} of a path is not described", name);
}

static void every_operation_is_whole(void **state)
{
    size_t count;
    const struct http_route *routes = api_routes(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const json_t *op = operation(routes[i].method, routes[i].pattern);
        assert_true(json_string_length(json_object_get(op, "summary")) > 0);
        assert_true(json_string_length(json_object_get(op, "operationId")) > 0);
        assert_true(json_object_size(json_object_get(op, "responses")) > 0);
        for (const char *p = routes[i].pattern; (p = strchr(p, '{')); p++) {
            char name[40] = "";
            size_t length = strcspn(p + 1, "}");
            assert_true(length < sizeof name);
            memcpy(name, p + 1, length);
            has_path_parameter(op, name);
        }
        if (routes[i].limited)
            assert_non_null(json_object_get(json_object_get(op, "responses"), "429"));
    }
}

static const json_t *schema_of_error(const json_t *op, const char *status)
{
    const json_t *answer =
        follow(json_object_get(json_object_get(op, "responses"), status));
    const json_t *json =
        json_object_get(json_object_get(answer, "content"), "application/json");
    return json_object_get(json, "schema");
}

/* What is public asks for nothing, unless it takes a session; all others may refuse, in
 * the shape that the clients of their door read. */
static void every_operation_says_who_may(void **state)
{
    size_t count;
    const struct http_route *routes = api_routes(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const json_t *op = operation(routes[i].method, routes[i].pattern);
        const json_t *security = json_object_get(op, "security");
        bool public = routes[i].access == API_PUBLIC;
        print_message("%s %s\n", routes[i].method, routes[i].pattern);
        assert_int_equal(public, security != NULL);
        if (public)
            continue;
        const char *shape = strncmp(routes[i].pattern, "/v1/", 4)
                                ? "#/components/schemas/Error"
                                : "#/components/schemas/OpenAIError";
        for (const char *const *s = (const char *const[]){"401", "403", NULL}; *s; s++) {
            const json_t *schema = schema_of_error(op, *s);
            assert_non_null(schema);
            assert_string_equal(json_string_value(json_object_get(schema, "$ref")),
                                shape);
        }
    }
}

/* ---- options ---- */

static const json_t *described_options(void)
{
    const json_t *schemas =
        json_object_get(json_object_get(root, "components"), "schemas");
    return json_object_get(json_object_get(schemas, "Options"), "properties");
}

/* "number", or ["number", "string"] where "none" may stand too. */
static void check_type(const struct job_option *o, const json_t *schema)
{
    static const char *const types[] = {[OPTION_NUMBER] = "number",
                                        [OPTION_WHOLE] = "integer",
                                        [OPTION_SEED] = "integer",
                                        [OPTION_BOOLEAN] = "boolean"};
    const json_t *type = json_object_get(schema, "type");
    bool numeric = o->kind == OPTION_NUMBER || o->kind == OPTION_WHOLE;
    if (numeric && o->none != NONE_IS_DEFAULT) {
        assert_string_equal(json_string_value(json_object_get(schema, "pattern")),
                            "^none$");
        type = json_array_get(type, 0);
    }
    const char *wanted =
        o->kind < ARRAY_LENGTH(types) && types[o->kind] ? types[o->kind] : "string";
    assert_string_equal(json_string_value(type), wanted);
    if (!numeric)
        return;
    assert_true(json_number_value(json_object_get(schema, "minimum")) == o->low);
    assert_true(json_number_value(json_object_get(schema, "maximum")) == o->high);
}

static void check_default(const struct job_option *o, const json_t *schema)
{
    const json_t *value = json_object_get(schema, "default");
    char text[64] = "";
    struct buf b;
    buf_init(&b, 4096);
    job_option_default(o, &b);
    if (json_is_boolean(value))
        (void)snprintf(text, sizeof text, "%s", json_is_true(value) ? "on" : "off");
    else if (json_is_number(value))
        (void)snprintf(text, sizeof text, "%.10g", json_number_value(value));
    else if (json_is_string(value))
        (void)snprintf(text, sizeof text, "%s", json_string_value(value));
    assert_string_equal(text, buf_cstr(&b));
    buf_release(&b);
}

static void every_option_is_described(void **state)
{
    const json_t *all = described_options();
    size_t count = 0;
    (void)state;
    for (const struct job_option *o = job_option_table(); o->name; o++, count++) {
        const json_t *schema = json_object_get(all, o->name);
        if (!schema)
            fail_msg("the option %s is not in openapi.json", o->name);
        print_message("%s\n", o->name);
        check_type(o, schema);
        check_default(o, schema);
        const char *help = json_string_value(json_object_get(schema, "description"));
        assert_string_equal(help + 1, o->help + 1);
        assert_int_equal(tolower((unsigned char)help[0]),
                         tolower((unsigned char)o->help[0]));
    }
    assert_int_equal(json_object_size(all), count);
}

/* Those that shape subtitles are parameters of a download too. */
static void a_download_takes_the_options_of_subtitles(void **state)
{
    const json_t *parameters =
        json_object_get(operation("GET", "/jobs/{id}/download"), "parameters");
    (void)state;
    for (const struct job_option *o = job_option_table(); o->name; o++) {
        bool found = false;
        size_t i;
        json_t *p;
        json_array_foreach(parameters, i, p)
        {
            const char *name = json_string_value(json_object_get(follow(p), "name"));
            found = found || !strcmp(name, o->name);
        }
        assert_int_equal(found, o->group == GROUP_SUBTITLES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_described),
        cmocka_unit_test(nothing_else_is_described),
        cmocka_unit_test(every_reference_leads_somewhere),
        cmocka_unit_test(every_operation_is_whole),
        cmocka_unit_test(every_operation_says_who_may),
        cmocka_unit_test(every_option_is_described),
        cmocka_unit_test(a_download_takes_the_options_of_subtitles),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
