/* Who asks, and what is theirs. */
#include "api/access.h"
#include "api/api.h"
#include "api/credentials.h"
#include "api/errors.h"
#include "api/session.h"

#include "base/clock.h"
#include "base/config_checks.h"
#include "base/log.h"
#include "http/host.h"
#include "http/peer.h"

#include <stdarg.h>

#define TOUCH_MS 60000 /* how exactly a key's last use is known */

/* Of public routes. Its id is no job's, so it sees none. */
static struct caller nobody = {.id = "nobody"};

const char *api_viewer(const struct http_request *r)
{
    const struct caller *c = r->caller;
    return !c || (c->scopes & KEY_ADMIN) ? NULL : c->id;
}

const char *api_owner(const struct http_request *r)
{
    const struct caller *c = r->caller;
    return c ? c->id : "";
}

bool api_may_see(struct http_request *r, const char *id)
{
    struct api *api = r->app;
    struct err e;
    if (!jobs_of_caller(api->jobs, api_viewer(r), id, &e))
        return true;
    api_error(&r->response, &e);
    return false;
}

void api_leave(void *caller)
{
    if (caller != &nobody)
        free(caller);
}

/* ---- refusing -------------------------------------------------------------------- */

void api_refuse(struct http_request *r, int status, const char *error_code,
                const char *format, ...)
{
    char message[500];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    http_respond_error(&r->response, status, error_code, "%s", message);
}

static int refuse_unknown(struct http_request *r, const char *why, const char *caller)
{
    bool given = why != NULL;
    http_response_header(&r->response, "WWW-Authenticate",
                         given ? "Bearer error=\"invalid_token\"" : "Bearer");
    access_note(r, ACCESS_REFUSED, caller, given ? why : "no key");
    api_refuse(r, 401, "unauthorized", "%s",
               given ? "this key is not valid here: it is unknown, revoked or has expired"
                     : "this needs a key: send it as \"Authorization: Bearer wt_…\" or "
                       "as X-API-Key");
    return ERR_DENIED;
}

static int refuse_error(struct http_request *r, const struct err *e)
{
    log_error("%s", e->message);
    http_response_header(&r->response, "Retry-After", "10");
    api_refuse(r, 503, "not_ready", "the server cannot check who is asking; try again");
    return e->code;
}

/* ---- keys ------------------------------------------------------------------------ */

static void touch(struct store *s, const struct store_key *key, int64_t now_ms)
{
    struct err e;
    if (now_ms - key->used_ms >= TOUCH_MS && store_key_touch(s, key->id, now_ms, &e))
        log_debug("%s", e.message);
}

/* What the request brings: a key, or a session. False: nothing at all. */
static bool find_credential(const struct http_request *r, char text[CREDENTIAL_MAX],
                            bool *session)
{
    *session = false;
    const char *authorization = http_request_header(r, "Authorization");
    if (credentials_bearer(authorization, text) || credentials_basic(authorization, text))
        return true;
    const char *key = http_request_header(r, "X-API-Key");
    if (key && *key) {
        (void)snprintf(text, CREDENTIAL_MAX, "%s", key);
        return true;
    }
    *session = true;
    return credentials_cookie(http_request_header(r, "Cookie"), SESSION_COOKIE, text);
}

static int identify_key(struct http_request *r, struct store *s, struct caller *c)
{
    char text[CREDENTIAL_MAX];
    bool session;
    struct store_key key = {0};
    struct err e = {0};
    int64_t now_ms = clock_now_ms();
    if (!find_credential(r, text, &session))
        return refuse_unknown(r, NULL, "");
    int status = session ? keys_check_session(s, text, now_ms, &key, c->session, &e)
                         : keys_check(s, text, now_ms, &key, &e);
    if (status == ERR_DENIED)
        return refuse_unknown(r, e.message, key.id);
    if (status)
        return refuse_error(r, &e);
    touch(s, &key, now_ms);
    memcpy(c->id, key.id, sizeof key.id);
    memcpy(c->name, key.name, sizeof key.name);
    c->scopes = key.scopes;
    c->minutes_per_day = key.minutes_per_day;
    return 0;
}

/* ---- a proxy that has asked already ---------------------------------------------- */

static int refuse_proxy(struct http_request *r, const char *why)
{
    http_response_header(&r->response, "WWW-Authenticate", "Bearer");
    access_note(r, ACCESS_REFUSED, "", why);
    api_refuse(r, 401, "unauthorized", "%s", why);
    return ERR_DENIED;
}

static bool is_user(const char *name)
{
    size_t length = strlen(name);
    return length && length <= CALLER_NAME_MAX && http_utf8_valid(name, length) &&
           setting_is_printable(name);
}

static int identify_proxy(struct http_request *r, struct api *api, struct caller *c)
{
    const struct config *config = api->config;
    struct http_address peer = http_request_peer(r);
    const char *user, *scopes = NULL;
    if (!http_networks_hold(access_trusted(api->access), &peer))
        return refuse_proxy(r, "this server is asked through its proxy only");
    if (http_request_header_once(r, config->auth_proxy_header, &user) != 1 ||
        !is_user(user))
        return refuse_proxy(r, "the proxy does not say, or not clearly, who is asking");
    c->scopes = KEY_READ | KEY_TRANSCRIBE;
    if (config->auth_proxy_scopes_header) {
        if (http_request_header_once(r, config->auth_proxy_scopes_header, &scopes) > 1)
            return refuse_proxy(r, "the proxy says twice what the caller may");
        c->scopes = credentials_scopes(scopes);
    }
    (void)snprintf(c->id, sizeof c->id, "proxy:%s", user);
    (void)snprintf(c->name, sizeof c->name, "%s", user);
    return 0;
}

/* ---- the gate -------------------------------------------------------------------- */

/* The scopes of which a caller needs one. A route that forgot to say is for admins. */
static int scopes_for(int access)
{
    return access == API_CALLER       ? KEY_SCOPES
           : access == API_READ       ? KEY_READ | KEY_ADMIN
           : access == API_TRANSCRIBE ? KEY_TRANSCRIBE | KEY_ADMIN
                                      : KEY_ADMIN;
}

static int judge(struct http_request *r, const struct caller *c, int access)
{
    int wanted = scopes_for(access);
    if (c->scopes & wanted)
        return 0;
    const char *scope = access == API_READ         ? "read"
                        : access == API_TRANSCRIBE ? "transcribe"
                        : access == API_CALLER     ? "read"
                                                   : "admin";
    char sentence[80];
    (void)snprintf(sentence, sizeof sentence, "this needs the scope \"%s\"", scope);
    http_response_header(&r->response, "WWW-Authenticate",
                         "Bearer error=\"insufficient_scope\"");
    access_note(r, ACCESS_DENIED, c->id, sentence);
    api_refuse(r, 403, "insufficient_scope", "%s, which this key has not", sentence);
    return ERR_DENIED;
}

static int identify(struct http_request *r, enum config_auth mode, int access)
{
    struct api *api = r->app;
    struct caller *c = calloc(1, sizeof *c);
    r->caller = c;
    if (!c) {
        struct err e;
        (void)err_set(&e, ERR_NOMEM, "out of memory");
        return refuse_error(r, &e);
    }
    int status = mode == AUTH_PROXY ? identify_proxy(r, api, c)
                                    : identify_key(r, access_store(api->access), c);
    r->caller_id = c->id;
    return status ? status : judge(r, c, access);
}

/* Where nobody is asked, the name that a page calls us by is all that tells ours from a
 * stranger's. A proxy on this machine cannot be told from a browser on it, which may say
 * whatever proxies say; one elsewhere knows its own names. */
static int check_host(struct http_request *r)
{
    struct api *api = r->app;
    const char *host = http_request_header(r, "Host");
    struct http_address peer = http_request_peer(r);
    if (http_host_is_ours(host, api->config->allowed_hosts) ||
        !http_request_from_browser(r) ||
        (!http_address_loopback(&peer) &&
         http_networks_hold(access_trusted(api->access), &peer)))
        return 0;
    access_note(r, ACCESS_DENIED, "", "a page, under a name that is not ours");
    api_refuse(r, 403, "host_not_allowed",
               "this server asks nobody for a key, so it lets no page call it "
               "\"%.100s\", which may be a stranger's name: its operator can allow the "
               "name with ALLOWED_HOSTS, or make keys",
               host);
    return ERR_DENIED;
}

int api_admit(struct http_request *r, const struct http_route *route)
{
    struct api *api = r->app;
    enum config_auth mode;
    struct err e;
    /* Not even the database is asked: the page and the health checks work without. */
    if (route->access == API_PUBLIC) {
        r->caller = &nobody;
        return 0;
    }
    if (access_mode(api->access, &mode, &e))
        return refuse_error(r, &e);
    int status = mode == AUTH_OFF ? check_host(r) : identify(r, mode, route->access);
    if (!status && route->limited)
        status = api_take_allowance(r, r->caller);
    return status;
}
