#include "api/session.h"

#include "api/access.h"
#include "api/api.h"
#include "api/credentials.h"
#include "api/errors.h"
#include "api/json_fields.h"

#include "base/clock.h"
#include "http/json_body.h"

/* Scripts cannot read it, and pages of other sites cannot make a browser send it. An
 * empty value takes it back. */
static void set_cookie(struct http_request *r, const char *value, int64_t seconds)
{
    struct api *api = r->app;
    char header[256];
    (void)snprintf(
        header, sizeof header,
        SESSION_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%lld%s", value,
        (long long)seconds, access_is_https(api->access, r) ? "; Secure" : "");
    http_response_header(&r->response, "Set-Cookie", header);
}

static json_t *describe(const char *auth, const char *id, const char *name, int scopes,
                        int64_t minutes)
{
    return json_pack("{s:s, s:s?, s:s?, s:o, s:o}", "auth", auth, "id", id, "name", name,
                     "scopes", key_scopes_json(scopes), "minutes_per_day",
                     minutes ? json_integer(minutes) : json_null());
}

static void open_session(struct http_request *r, const struct store_key *key)
{
    struct api *api = r->app;
    struct store *store = access_store(api->access);
    const struct key_actor actor = {key->id, r->client};
    char cookie[KEY_TEXT_SIZE];
    int64_t now_ms = clock_now_ms(), expires_ms;
    struct err e;
    if (keys_open_session(store, key, now_ms, cookie, &expires_ms, &e)) {
        api_error(&r->response, &e);
        return;
    }
    audit_note(store, "session_opened", &actor, "%s", key->id);
    set_cookie(r, cookie, (expires_ms - now_ms) / 1000);
    http_respond_json(
        &r->response, 200,
        describe("key", key->id, key->name, key->scopes, key->minutes_per_day));
}

/* Where nobody is asked, there is nothing to open; a page need not know. */
static bool is_open(struct http_request *r)
{
    struct api *api = r->app;
    enum config_auth mode;
    struct err e;
    if (access_mode(api->access, &mode, &e)) {
        api_error(&r->response, &e);
        return true;
    }
    if (mode == AUTH_KEY)
        return false;
    http_respond_json(&r->response, 200,
                      describe(mode == AUTH_OFF ? "off" : "proxy", NULL, NULL,
                               mode == AUTH_OFF ? KEY_SCOPES : 0, 0));
    return true;
}

static void open_with(struct http_request *r, const char *text)
{
    struct api *api = r->app;
    struct store_key key;
    struct err e;
    int status = keys_check(access_store(api->access), text, clock_now_ms(), &key, &e);
    if (status == ERR_DENIED) {
        access_note(r, ACCESS_REFUSED, key.id, e.message);
        http_response_header(&r->response, "WWW-Authenticate", "Bearer");
        http_respond_error(&r->response, 401, "unauthorized",
                           "this key is not valid here: it is unknown, revoked or has "
                           "expired");
    } else if (status) {
        api_error(&r->response, &e);
    } else {
        open_session(r, &key);
    }
}

void api_session_open(struct http_request *r)
{
    static const char *const names[] = {"key", NULL};
    const char *text = NULL;
    struct err e = {0};
    const json_t *o = http_json_body(r);
    if (!o)
        return;
    int status = json_fields_only(o, names, &e);
    if (!status)
        status = json_field_text(o, "key", &text, &e);
    if (!status && !text)
        status = err_set(&e, ERR_INVALID, "the body must be {\"key\": \"wt_…\"}");
    if (status)
        api_error(&r->response, &e);
    else if (!is_open(r))
        open_with(r, text);
}

void api_session_show(struct http_request *r)
{
    const struct caller *c = r->caller;
    bool proxied = c && !strncmp(c->id, "proxy:", 6);
    http_respond_json(&r->response, 200,
                      c ? describe(proxied ? "proxy" : "key", c->id, c->name, c->scopes,
                                   c->minutes_per_day)
                        : describe("off", NULL, NULL, KEY_SCOPES, 0));
}

void api_session_close(struct http_request *r)
{
    struct api *api = r->app;
    struct store *store = access_store(api->access);
    char text[CREDENTIAL_MAX], id[KEY_ID_SIZE];
    struct store_key key;
    struct err e;
    int status = 0;
    /* Only who holds the session may end it. */
    if (credentials_cookie(http_request_header(r, "Cookie"), SESSION_COOKIE, text) &&
        !keys_check_session(store, text, clock_now_ms(), &key, id, NULL))
        status = store_session_drop(store, id, &e);
    if (status) {
        api_error(&r->response, &e);
        return;
    }
    set_cookie(r, "", 0);
    http_respond_json(&r->response, 200, json_pack("{s:s}", "message", "Signed out"));
}
