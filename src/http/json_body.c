#include "http/json_body.h"

#include "base/json_text.h"

#include <strings.h>

struct http_json {
    struct buf bytes;
    json_t *object; /* owned; NULL before it is parsed, or when it cannot be */
};

/* application/json, and what ends in +json; parameters may follow. */
static bool is_json_type(const char *type)
{
    size_t length = strcspn(type, "; \t");
    if (length == strlen("application/json") &&
        !strncasecmp(type, "application/json", length))
        return true;
    return length > 5 && !strncasecmp(type + length - 5, "+json", 5);
}

int http_json_begin(struct http_request *r)
{
    /* A page of another site can send a form or plain text without asking, but not this
     * type; and curl's default is a form, which is worth a sentence. */
    const char *type = http_request_header(r, "Content-Type");
    if (!type || !is_json_type(type)) {
        http_respond_error(&r->response, 415, "unsupported",
                           "send JSON, with the header Content-Type: application/json");
        return ERR_UNSUPPORTED;
    }
    r->json = calloc(1, sizeof *r->json);
    if (!r->json) {
        http_respond_error(&r->response, 500, "out_of_memory", "out of memory");
        return ERR_NOMEM;
    }
    buf_init(&r->json->bytes, HTTP_JSON_MAX);
    return 0;
}

int http_json_data(struct http_request *r, const void *bytes, size_t length)
{
    buf_add(&r->json->bytes, bytes, length);
    if (!buf_failed(&r->json->bytes))
        return 0;
    http_respond_error(&r->response, 413, "too_large",
                       "the body is larger than %zu KiB, the most that is taken",
                       HTTP_JSON_MAX >> 10);
    return ERR_TOO_LARGE;
}

void http_json_done(struct http_request *r)
{
    if (!r->json)
        return;
    json_decref(r->json->object);
    buf_release(&r->json->bytes);
    free(r->json);
    r->json = NULL;
}

/* The deepest nesting, without parsing: the parser recurses, and its own limit is far
 * beyond what anybody needs. Brackets in strings do not count. */
static int depth_of(const char *bytes, size_t length)
{
    int depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = bytes[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest)
                deepest = depth;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return deepest;
}

json_t *http_json_parse(const char *bytes, size_t length, struct err *e)
{
    if (!length) {
        err_set(e, ERR_INVALID, "the body is empty; send a JSON object");
        return NULL;
    }
    if (depth_of(bytes, length) > HTTP_JSON_DEPTH) {
        err_set(e, ERR_INVALID, "the JSON is nested more than %d deep", HTTP_JSON_DEPTH);
        return NULL;
    }
    json_error_t error;
    json_t *value;
    int status = json_read(&value, bytes, length, JSON_REJECT_DUPLICATES, &error);
    if (status == ERR_NOMEM)
        err_set(e, ERR_NOMEM, "the server is short of memory; try again later");
    else if (status)
        err_set(e, ERR_INVALID, "the body is not JSON that can be read: %s, line %d",
                error.text, error.line);
    else if (!json_is_object(value))
        err_set(e, ERR_INVALID, "the body is not a JSON object: it must begin with {");
    else
        return value;
    json_decref(value);
    return NULL;
}

json_t *http_json_body(struct http_request *r)
{
    struct http_json *j = r->json;
    struct err e = {0};
    if (!j) {
        http_respond_error(&r->response, 400, "invalid",
                           "this request needs a body; send a JSON object");
        return NULL;
    }
    if (!j->object)
        j->object = http_json_parse(buf_cstr(&j->bytes), j->bytes.length, &e);
    if (!j->object && e.code == ERR_NOMEM)
        http_respond_error(&r->response, 503, "out_of_memory", "%s", e.message);
    else if (!j->object)
        http_respond_error(&r->response, 400, "invalid", "%s", e.message);
    return j->object;
}
