/* Keys over HTTP, for admins. */
#include "api/access.h"
#include "api/api.h"
#include "api/errors.h"
#include "api/json_fields.h"

#include "base/clock.h"
#include "http/json_body.h"

static struct store *store_of(struct http_request *r)
{
    struct api *api = r->app;
    return access_store(api->access);
}

void api_keys_list(struct http_request *r)
{
    struct store_key_list list;
    struct err e;
    int64_t now_ms = clock_now_ms();
    if (store_key_list(store_of(r), now_ms, &list, &e)) {
        api_error(&r->response, &e);
        return;
    }
    json_t *keys = json_array();
    for (size_t i = 0; i < list.count; i++)
        (void)json_array_append_new(keys, key_json(&list.keys[i], now_ms));
    http_respond_json(&r->response, 200, json_pack("{s:o}", "keys", keys));
    store_key_list_release(&list);
}

/* "scopes": a list, or as the command line has it, one text. */
static int read_scopes(const json_t *o, int *out, struct err *e)
{
    const json_t *value = json_object_get(o, "scopes");
    *out = 0;
    if (!value || json_is_null(value)) {
        *out = KEY_READ | KEY_TRANSCRIBE;
        return 0;
    }
    if (json_is_string(value))
        return key_scopes_parse(json_string_value(value), out, e);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *word = json_string_value(json_array_get(value, i));
        int scope, status = key_scopes_parse(word ? word : "", &scope, e);
        if (status)
            return status;
        *out |= scope;
    }
    return *out ? 0 : err_set(e, ERR_INVALID, "\"scopes\" must be a list of scopes");
}

static int read_wish(const json_t *o, struct key_wish *out, struct err *e)
{
    static const char *const names[] = {"name", "scopes", "expires", "minutes_per_day",
                                        NULL};
    const char *expires = "never";
    *out = (struct key_wish){.name = ""};
    int status = json_fields_only(o, names, e);
    if (!status)
        status = json_field_text(o, "name", &out->name, e);
    if (!status)
        status = json_field_text(o, "expires", &expires, e);
    if (!status)
        status = json_field_integer(o, "minutes_per_day", &out->minutes_per_day, e);
    if (!status)
        status = read_scopes(o, &out->scopes, e);
    if (!status)
        status = key_expiry_parse(expires, clock_now_ms(), &out->expires_ms, e);
    return status;
}

static void answer_created(struct http_request *r, const struct store_key *key,
                           const char *text)
{
    char location[64];
    json_t *body = key_json(key, key->created_ms);
    (void)json_object_set_new(body, "key", json_string(text));
    (void)snprintf(location, sizeof location, "/keys/%s", key->id);
    http_response_header(&r->response, "Location", location);
    http_respond_json(&r->response, 201, body);
}

/* Where nobody is asked yet, the first key is what switches that on: made for anybody but
 * an admin, it would lock out who makes it. */
static bool locks_out(struct http_request *r, const struct key_wish *wish)
{
    const struct api *api = r->app;
    if (r->caller || api->config->auth != AUTH_AUTO || (wish->scopes & KEY_ADMIN))
        return false;
    http_respond_error(&r->response, 409, "first_key",
                       "from the first key on every caller needs one: make the first for "
                       "an admin");
    return true;
}

void api_keys_create(struct http_request *r)
{
    const struct key_actor actor = {api_owner(r), r->client};
    struct key_wish wish;
    struct store_key key;
    char text[KEY_TEXT_SIZE];
    struct err e;
    const json_t *o = http_json_body(r);
    if (!o)
        return;
    int status = read_wish(o, &wish, &e);
    if (!status && locks_out(r, &wish))
        return;
    if (!status)
        status = keys_create(store_of(r), &wish, false, &actor, &key, text, &e);
    if (status)
        api_error(&r->response, &e);
    else
        answer_created(r, &key, text);
}

void api_keys_revoke(struct http_request *r)
{
    const struct key_actor actor = {api_owner(r), r->client};
    const char *id = http_request_capture(r, "id");
    struct err e;
    if (keys_revoke(store_of(r), id, &actor, &e))
        api_error(&r->response, &e);
    else
        http_respond_json(&r->response, 200,
                          json_pack("{s:s, s:s}", "message", "Key revoked", "id", id));
}
