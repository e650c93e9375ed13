/* How often and how much: the rate of uploads, and the minutes of a day. */
#include "api/access.h"
#include "api/api.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "http/ratelimit.h"
#include "job/shared.h"
#include "job/quota.h"

#include <sodium.h>

#define DAY_MS        INT64_C(86400000)
#define OPENAI_WAIT_S 120 /* their client waits no longer */
#define WAITING_S     60  /* until recordings that wait may have been measured */

/* The same rate for each address and for each key; two lists, so that neither can push
 * the other's entries out. */
struct access_limits {
    struct http_limiter *clients, *callers; /* owned; NULL: no limit */
    int64_t count, seconds;                 /* of the rate */
};

int access_limits_new(struct access_limits **out, const char *rate, struct err *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = http_limiter_new(&(*out)->clients, rate, e);
    (void)config_rate_parse(rate, &(*out)->count, &(*out)->seconds);
    return status ? status : http_limiter_new(&(*out)->callers, rate, e);
}

void access_limits_free(struct access_limits *l)
{
    if (!l)
        return;
    http_limiter_free(l->clients);
    http_limiter_free(l->callers);
    free(l);
}

static long long whole_seconds(int64_t ns)
{
    return (long long)((ns + 999999999) / 1000000000);
}

static void header_number(struct http_request *r, const char *name, long long value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", value);
    http_response_header(&r->response, name, text);
}

static void tell_allowance(struct http_request *r, const struct http_allowance *a)
{
    header_number(r, "RateLimit-Limit", (long long)a->limit);
    header_number(r, "RateLimit-Remaining", (long long)a->remaining);
    header_number(r, "RateLimit-Reset", whole_seconds(a->reset_ns));
}

/* The allowance of which less is left. */
static const struct http_allowance *tighter(const struct http_allowance *a,
                                            const struct http_allowance *b)
{
    return b->limit && b->remaining < a->remaining ? b : a;
}

static int refuse_rate(struct http_request *r, const struct http_allowance *a,
                       const char *whose, const char *caller)
{
    long long seconds = whole_seconds(a->wait_ns);
    bool openai = !strncmp(r->path, "/v1/", 4);
    if (seconds < 1)
        seconds = 1;
    header_number(r, "Retry-After",
                  openai && seconds > OPENAI_WAIT_S ? OPENAI_WAIT_S : seconds);
    access_note(r, ACCESS_RATE, caller, whose);
    api_refuse(r, 429, "rate_limited", "too many uploads %s; try again in %lld second%s",
               whose, seconds, seconds == 1 ? "" : "s");
    return ERR_STATE;
}

/* Where several processes share the queue, they count together; when that cannot be, or
 * there is one alone, each counts for itself. */
static bool ask_limiter(struct api *api, struct http_limiter *l, const char *kind,
                        const unsigned char name[HTTP_LIMITER_NAME],
                        struct http_allowance *out)
{
    const struct access_limits *limits = access_limits(api->access);
    char text[16 + 2 * HTTP_LIMITER_NAME + 1], hex[2 * HTTP_LIMITER_NAME + 1];
    struct queue_allowance shared;
    struct queue_rate rate = {text, limits->count, limits->seconds};
    sodium_bin2hex(hex, sizeof hex, name, HTTP_LIMITER_NAME);
    (void)snprintf(text, sizeof text, "%s:%s", kind, hex);
    if (!l || jobs_allow(api->jobs, &rate, &shared))
        return http_limiter_ask(l, name, clock_monotonic_ns(), out);
    int64_t interval_us = limits->seconds * 1000000 / limits->count;
    *out = (struct http_allowance){
        .limit = limits->count,
        .remaining = (interval_us * limits->count - shared.reset_us) / interval_us,
        .reset_ns = shared.reset_us * 1000,
        .wait_ns = shared.wait_us * 1000,
        .allowed = shared.allowed};
    return out->allowed;
}

static int check_rate(struct http_request *r, const struct caller *c)
{
    struct api *api = r->app;
    struct access_limits *l = access_limits(api->access);
    struct http_allowance client = {0}, caller = {0};
    struct http_address address = {0};
    unsigned char name[HTTP_LIMITER_NAME];
    const char *id = c ? c->id : "";
    (void)http_address_parse(r->client, &address);
    address = http_address_network(&address);
    bool may = ask_limiter(api, l->clients, "client", address.bytes, &client);
    if (may && *id) {
        crypto_generichash(name, sizeof name, (const unsigned char *)id, strlen(id), NULL,
                           0);
        may = ask_limiter(api, l->callers, "key", name, &caller);
    }
    if (client.limit)
        tell_allowance(r, tighter(&client, &caller));
    if (may)
        return 0;
    return client.allowed ? refuse_rate(r, &caller, "with this key", id)
                          : refuse_rate(r, &client, "from this address", id);
}

/* ---- minutes per day ------------------------------------------------------------- */

static int refuse_quota(struct http_request *r, const struct caller *c, bool waiting,
                        int64_t now_ms)
{
    long long seconds = waiting ? WAITING_S : (DAY_MS - now_ms % DAY_MS) / 1000 + 1;
    bool openai = !strncmp(r->path, "/v1/", 4);
    if (openai && seconds > OPENAI_WAIT_S)
        http_response_header(&r->response, "x-should-retry", "false");
    header_number(r, "Retry-After",
                  openai && seconds > OPENAI_WAIT_S ? OPENAI_WAIT_S : seconds);
    access_note(r, ACCESS_QUOTA, c->id, waiting ? "waiting" : "used up");
    api_refuse(r, 429, "quota_exceeded",
               "the %lld minutes of audio that this key has for a day %s",
               (long long)c->minutes_per_day,
               waiting ? "may be used up by the recordings that are waiting; try again "
                         "when they have begun"
                       : "are used up; the next day begins at midnight UTC");
    return ERR_STATE;
}

static int check_quota(struct http_request *r, const struct caller *c)
{
    struct api *api = r->app;
    struct store_usage used = {0};
    struct err e;
    if (!c || !c->minutes_per_day)
        return 0;
    int64_t now_ms = clock_now_ms();
    if (store_key_usage(access_store(api->access), c->id, now_ms, &used, &e)) {
        log_error("%s", e.message);
        http_response_header(&r->response, "Retry-After", "10");
        api_refuse(r, 503, "not_ready", "the server cannot check what this key has used");
        return e.code;
    }
    enum quota_state state = quota_judge(&used, c->minutes_per_day, true);
    return state == QUOTA_LEFT ? 0 : refuse_quota(r, c, state == QUOTA_WAITING, now_ms);
}

int api_take_allowance(struct http_request *r, const struct caller *c)
{
    int status = check_rate(r, c);
    return status ? status : check_quota(r, c);
}
