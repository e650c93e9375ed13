#include "api/access.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/retired.h"
#include "http/peer.h"

#include <pthread.h>
#include <stdatomic.h>

#define NOTES_PER_SECOND 5

struct access {
    const struct config *config;           /* borrowed */
    struct store *store;                   /* borrowed */
    struct http_networks *_Atomic trusted; /* owned */
    struct access_limits *_Atomic limits;  /* owned */
    struct retired *retired;               /* owned: those of before a reload */
    const char *rate;  /* borrowed from the config, which keeps it: that of the limits */
    atomic_bool open;  /* AUTH=auto, and only this machine reaches us */
    atomic_bool keyed; /* a key was seen: it stays that way */
    pthread_mutex_t lock;
    struct budget {
        int64_t second; /* of the clock, in which … */
        int notes;      /* … so many entries were written */
        int64_t unnoted;
    } budgets[ACCESS_EVENT_COUNT]; /* under lock */
};

static void free_limits(void *limits)
{
    access_limits_free(limits);
}

/* With another rate, everybody's allowance is whole again. */
int access_reload(struct access *a, const struct config *config, struct err *e)
{
    struct http_networks *trusted = NULL;
    struct access_limits *limits = NULL;
    const char *wanted = config->rate_limit;
    bool rate = !a->rate || strcmp(a->rate, wanted) != 0;
    int status = http_networks_new(&trusted, config->trusted_proxies, e);
    if (status)
        return err_prefix(e, "TRUSTED_PROXIES");
    if (rate)
        status = access_limits_new(&limits, wanted, e);
    if (status) {
        access_limits_free(limits);
        http_networks_free(trusted);
        return status;
    }
    retire(&a->retired, a->trusted, http_networks_free);
    a->trusted = trusted;
    if (rate) {
        retire(&a->retired, a->limits, free_limits);
        a->limits = limits;
        a->rate = wanted;
    }
    return 0;
}

int access_new(struct access **out, const struct config *config, struct store *store,
               struct err *e)
{
    *out = NULL;
    struct access *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, "out of memory");
    a->config = config;
    a->store = store;
    pthread_mutex_init(&a->lock, NULL);
    int status = access_reload(a, config, e);
    if (status) {
        access_free(a);
        return status;
    }
    *out = a;
    return 0;
}

void access_free(struct access *a)
{
    if (!a)
        return;
    access_limits_free(a->limits);
    http_networks_free(a->trusted);
    retired_free(a->retired);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void access_listen(struct access *a, bool loopback)
{
    atomic_store(&a->open, loopback);
}

struct store *access_store(struct access *a)
{
    return a->store;
}

struct access_limits *access_limits(struct access *a)
{
    return a->limits;
}

const struct http_networks *access_trusted(const struct access *a)
{
    return a->trusted;
}

/* A key that is made by the command while we run counts from the next request on; one
 * that is revoked does not open the doors again. */
int access_mode(struct access *a, enum config_auth *out, struct err *e)
{
    *out = a->config->auth == AUTH_AUTO ? AUTH_KEY : a->config->auth;
    if (a->config->auth != AUTH_AUTO || !atomic_load(&a->open) || atomic_load(&a->keyed))
        return 0;
    bool any = false;
    int status = store_key_any(a->store, &any, e);
    if (status)
        return status;
    if (any) {
        atomic_store(&a->keyed, true);
        log_info("a key exists: from now on every caller needs one");
    } else {
        *out = AUTH_OFF;
    }
    return 0;
}

bool access_is_https(const struct access *a, const struct http_request *r)
{
    struct http_address peer = http_request_peer(r);
    const char *protocol = http_request_header(r, "X-Forwarded-Proto");
    return protocol && !strcmp(protocol, "https") &&
           http_networks_hold(a->trusted, &peer);
}

int access_first_key(struct access *a, bool *made, char text[KEY_TEXT_SIZE],
                     struct err *e)
{
    const struct key_wish wish = {.name = "first key", .scopes = KEY_ADMIN};
    const struct key_actor actor = {"", "serve"};
    struct store_key key;
    int status = keys_create(a->store, &wish, true, &actor, &key, text, e);
    *made = !status;
    return status == ERR_EXISTS ? 0 : status;
}

struct access_pass access_pass_of(const struct http_request *r)
{
    const struct caller *c = r->caller;
    struct access_pass pass = {0};
    (void)snprintf(pass.id, sizeof pass.id, "%s", api_owner(r));
    if (c)
        memcpy(pass.session, c->session, sizeof pass.session);
    return pass;
}

bool access_pass_may_end(const struct access_pass *pass)
{
    return key_id_valid(pass->id);
}

int access_pass_check(struct access *a, const struct access_pass *pass)
{
    struct store_session session = {0};
    struct store_key key;
    struct err e;
    int64_t now_ms = clock_now_ms();
    bool by_session = *pass->session;
    if (!access_pass_may_end(pass))
        return 0;
    int status = by_session
                     ? store_session_get(a->store, pass->session, &session, &key, &e)
                     : store_key_get(a->store, pass->id, &key, &e);
    if (status)
        return status == ERR_NOT_FOUND ? ERR_DENIED : status;
    bool over = by_session && session.expires_ms <= now_ms;
    return over || strcmp(key_state(&key, now_ms), "active") != 0 ? ERR_DENIED : 0;
}

bool access_pass_holds(struct access *a, const struct access_pass *pass)
{
    return !access_pass_check(a, pass);
}

/* Whether one more entry of its kind may be written in this second; *unnoted is how many
 * could not be before it. */
static bool may_note(struct access *a, enum access_event event, int64_t *unnoted)
{
    int64_t second = clock_monotonic_ns() / 1000000000;
    struct budget *b = &a->budgets[event];
    pthread_mutex_lock(&a->lock);
    if (second != b->second) {
        b->second = second;
        b->notes = 0;
    }
    bool may = b->notes < NOTES_PER_SECOND;
    if (may) {
        b->notes++;
        *unnoted = b->unnoted;
        b->unnoted = 0;
    } else {
        b->unnoted++;
    }
    pthread_mutex_unlock(&a->lock);
    return may;
}

void access_note(struct http_request *r, enum access_event event, const char *caller,
                 const char *detail)
{
    static const char *const names[ACCESS_EVENT_COUNT] = {
        "refused", "denied", "rate_limited", "quota_exceeded"};
    struct api *api = r->app;
    int64_t unnoted = 0;
    char more[64] = "";
    if (!may_note(api->access, event, &unnoted))
        return;
    if (unnoted)
        (void)snprintf(more, sizeof more, "; %lld entries were left out before this one",
                       (long long)unnoted);
    const struct key_actor actor = {caller, r->client};
    audit_note(api->access->store, names[event], &actor, "%s %.100s: %s%s", r->method,
               r->path, detail, more);
}
