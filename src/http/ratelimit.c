#include "http/ratelimit.h"

#include "base/config.h"

#include <pthread.h>
#include <sys/random.h>

/* Memory is bounded: SLOTS clients are remembered. A client may sit in any of WAYS slots;
 * when all are taken by others, the one nearest to a whole allowance is forgotten. */
#define SLOTS 8192
#define WAYS  8

struct slot {
    uint8_t name[HTTP_LIMITER_NAME];
    int64_t whole_ns; /* when its allowance is whole again; 0: empty */
};

struct http_limiter {
    pthread_mutex_t lock;
    uint64_t seed;       /* so that nobody can choose addresses that collide */
    int64_t interval_ns; /* one request is earned in this time */
    int64_t burst_ns;    /* allowance: count × interval */
    int64_t count;
    struct slot slots[SLOTS];
};

int http_limiter_new(struct http_limiter **out, const char *rate, struct err *e)
{
    *out = NULL;
    int64_t count = 0, seconds = 0;
    if (!config_rate_parse(rate, &count, &seconds))
        return err_set(e, ERR_INVALID,
                       "RATE_LIMIT: \"%.60s\" is no rate; write for example 10/minute, "
                       "5/second or off",
                       rate);
    if (count == 0)
        return 0;
    struct http_limiter *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&l->lock, NULL);
    if (getrandom(&l->seed, sizeof l->seed, 0) != (ssize_t)sizeof l->seed)
        abort();
    l->count = count;
    l->interval_ns = seconds * 1000000000 / count;
    l->burst_ns = l->interval_ns * count;
    *out = l;
    return 0;
}

void http_limiter_free(struct http_limiter *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static uint64_t hash(const struct http_limiter *l, const uint8_t *name)
{
    uint64_t h = l->seed;
    for (size_t i = 0; i < HTTP_LIMITER_NAME; i++) {
        h = (h ^ name[i]) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 29;
    }
    return h;
}

static struct slot *find(struct http_limiter *l, const uint8_t *name)
{
    uint64_t start = hash(l, name);
    struct slot *oldest = NULL;
    for (uint64_t i = 0; i < WAYS; i++) {
        struct slot *s = &l->slots[(start + i) % SLOTS];
        if (s->whole_ns && !memcmp(s->name, name, sizeof s->name))
            return s;
        if (!oldest || s->whole_ns < oldest->whole_ns)
            oldest = s;
    }
    *oldest = (struct slot){0};
    memcpy(oldest->name, name, sizeof oldest->name);
    return oldest;
}

bool http_limiter_ask(struct http_limiter *l, const uint8_t name[HTTP_LIMITER_NAME],
                      int64_t now_ns, struct http_allowance *out)
{
    *out = (struct http_allowance){.allowed = true};
    if (!l)
        return true;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, name);
    int64_t from = s->whole_ns > now_ns ? s->whole_ns : now_ns;
    int64_t whole = from + l->interval_ns;
    out->allowed = whole - now_ns <= l->burst_ns;
    if (out->allowed)
        s->whole_ns = from = whole;
    else
        out->wait_ns = whole - now_ns - l->burst_ns;
    pthread_mutex_unlock(&l->lock);
    out->limit = l->count;
    out->reset_ns = from - now_ns;
    out->remaining = (l->burst_ns - out->reset_ns) / l->interval_ns;
    return out->allowed;
}

bool http_limiter_take(struct http_limiter *l, const struct http_address *client,
                       int64_t now_ns, int64_t *wait_ns)
{
    struct http_address network = http_address_network(client);
    struct http_allowance a;
    bool allowed = http_limiter_ask(l, network.bytes, now_ns, &a);
    *wait_ns = a.wait_ns;
    return allowed;
}
