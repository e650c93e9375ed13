#include "api/json_in.h"

#define BODY_MAX ((size_t)16 << 10)

int64_t json_in_max(struct http_request *r)
{
    (void)r;
    return (int64_t)BODY_MAX;
}

int json_in_begin(struct http_request *r)
{
    struct buf *b = calloc(1, sizeof *b);
    if (b)
        buf_init(b, BODY_MAX);
    r->state = b;
    return 0;
}

int json_in_data(struct http_request *r, const void *bytes, size_t length)
{
    if (r->state)
        buf_add(r->state, bytes, length);
    return 0;
}

void json_in_done(struct http_request *r)
{
    if (r->state)
        buf_release(r->state);
    free(r->state);
    r->state = NULL;
}

json_t *json_in_take(struct http_request *r)
{
    struct buf *b = r->state;
    json_error_t why = {0};
    if (!b || buf_failed(b)) {
        http_respond_error(&r->response, 503, "out_of_memory",
                           "The server is short of memory; try again later.");
        return NULL;
    }
    json_t *o = b->length ? json_loadb(b->data, b->length, JSON_REJECT_DUPLICATES, &why)
                          : json_object();
    if (json_is_object(o))
        return o;
    json_decref(o);
    /* The body may hold a key: nothing of it is repeated. */
    http_respond_error(&r->response, 400, "invalid",
                       "the body must be an object of JSON; line %d, column %d is not",
                       why.line, why.column);
    return NULL;
}

int json_in_text(const json_t *o, const char *name, const char **out, struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return err_set(e, ERR_INVALID, "\"%s\" must be a text", name);
    *out = json_string_value(value);
    return 0;
}

int json_in_integer(const json_t *o, const char *name, int64_t *out, struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value))
        return err_set(e, ERR_INVALID, "\"%s\" must be a whole number", name);
    *out = json_integer_value(value);
    return 0;
}

int json_in_only(const json_t *o, const char *const *names, struct err *e)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)o, name, value)
    {
        size_t i = 0;
        while (names[i] && strcmp(names[i], name) != 0)
            i++;
        if (!names[i])
            return err_set(e, ERR_INVALID, "there is no member \"%.40s\" here", name);
    }
    return 0;
}
