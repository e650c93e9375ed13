#include "queue/redis.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/redis_queue.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A claimed id is reserved for so long, until the store has granted it. */
#define RESERVED_MS 3000
#define CLAIM_MS    1000
/* Who finds nothing is called when something comes, for so long; he asks again before,
 * unless he found something to do. */
#define WAITS_MS 120000
/* While a short job waits, every third claim at least is one. */
#define SHORT_EVERY 3

void redis_ring(struct redis_queue *q)
{
    uint64_t one = 1;
    ssize_t n = write(q->bell, &one, sizeof one);
    (void)n; /* full means that it rings already */
}

void redis_wake_ear(struct redis_queue *q)
{
    uint64_t one = 1;
    ssize_t n = q->ear_bell >= 0 ? write(q->ear_bell, &one, sizeof one) : 0;
    (void)n; /* full means that it rings already */
}

/* With the claims' lock. */
static void drop_claims(struct redis_queue *q, const struct err *why)
{
    if (!q->claim_link)
        return;
    redis_link_close(q->claim_link);
    q->claim_link = NULL;
    atomic_store(&q->up, false);
    if (!atomic_load(&q->closing))
        log_warning("Redis is away, jobs are taken from the database until it is back: "
                    "%s",
                    why->message);
}

void redis_away(struct redis_queue *q, const struct err *why)
{
    pthread_mutex_lock(&q->claim_lock);
    drop_claims(q, why);
    pthread_mutex_unlock(&q->claim_lock);
    redis_ring(q); /* what waits is in the store */
}

static void push(struct redis_queue *q, enum errand_kind kind, const char *id)
{
    struct errand errand = {.kind = kind};
    (void)snprintf(errand.id, sizeof errand.id, "%s", id);
    redis_errand(q, &errand);
}

static void redis_push(struct queue *base, const char *id)
{
    struct redis_queue *q = (struct redis_queue *)base;
    push(q, ERRAND_PUSH, id);
    if (!atomic_load(&q->up))
        redis_ring(q);
}

/* What the claim script said: 0 for a ticket, ERR_NOT_FOUND for none, ERR_STATE when
 * Redis cannot tell, ERR_CORRUPT for nonsense. */
static int read_ticket(const redisReply *r, struct queue_ticket *out, struct err *e)
{
    if (r->type != REDIS_REPLY_ARRAY)
        return err_set(e, ERR_CORRUPT, "its answer to a claim is no list");
    if (r->elements == 0)
        return err_set(e, ERR_NOT_FOUND, "no job is waiting");
    if (r->element[0]->type != REDIS_REPLY_STRING)
        return err_set(e, ERR_CORRUPT, "its answer to a claim is no text");
    if (r->elements == 1)
        return ERR_STATE;
    if (r->element[1]->type != REDIS_REPLY_STRING || !id_valid(r->element[0]->str))
        return err_set(e, ERR_CORRUPT, "its answer to a claim names no job");
    memcpy(out->id, r->element[0]->str, ID_SIZE);
    out->attempt = (int)strtol(r->element[1]->str, NULL, 10);
    return 0;
}

/* With the claims' lock, and a link. */
static int ask_redis(struct redis_queue *q, const struct store_wish *wish,
                     struct queue_ticket *out, struct err *e)
{
    struct redis_words w = {0};
    redisReply *reply = NULL;
    redis_words_begin(&w, "");
    redis_words_number(&w, RESERVED_MS);
    redis_words_number(&w, SHORT_EVERY);
    redis_words_add(&w, wish && wish->model ? wish->model : "");
    redis_words_add(&w, wish && wish->models && !wish->model ? wish->models : "*");
    redis_words_add(&w, q->token);
    redis_words_number(&w, WAITS_MS);
    int status = redis_script_run(q->claim_link, &redis_script_claim, q->prefix, &w,
                                  CLAIM_MS, &reply, e);
    bool answered = !status;
    if (!status)
        status = read_ticket(reply, out, e);
    freeReplyObject(reply);
    redis_words_release(&w);
    if (answered && status != ERR_CORRUPT)
        return status;
    drop_claims(q, e);
    return ERR_NETWORK;
}

static int redis_next(struct queue *base, const struct store_wish *wish,
                      struct queue_ticket *out, struct err *e)
{
    struct redis_queue *q = (struct redis_queue *)base;
    struct err own;
    *out = (struct queue_ticket){0};
    if (!atomic_load(&q->up))
        return 0;
    pthread_mutex_lock(&q->claim_lock);
    int status = q->claim_link ? ask_redis(q, wish, out, e ? e : &own) : ERR_NETWORK;
    pthread_mutex_unlock(&q->claim_lock);
    if (status == ERR_STATE || status == ERR_NETWORK)
        redis_look(q);
    /* When Redis cannot tell, the store can. */
    return status == ERR_NOT_FOUND ? status : 0;
}

static int redis_take(struct queue *base, const struct queue_ticket *ticket,
                      const struct store_wish *wish, const char *owner, struct job *out,
                      struct err *e)
{
    struct redis_queue *q = (struct redis_queue *)base;
    int64_t now = clock_now_ms(), until = clock_lease_ms() + QUEUE_LEASE_MS;
    if (!ticket->id[0]) {
        int status = store_claim(q->store, wish, owner, now, until, out, e);
        if (!status)
            push(q, ERRAND_KEEP, out->id);
        return status;
    }
    int status = store_waiting_claim(q->store, ticket->id, ticket->attempt, owner, now,
                                     until, out, e);
    /* What the store cannot tell now comes back when the reservation lapses. */
    struct errand errand = {.kind = status ? ERRAND_REFUSED : ERRAND_KEEP,
                            .attempt = ticket->attempt};
    memcpy(errand.id, ticket->id, ID_SIZE);
    if (!status || status == ERR_STATE)
        redis_errand(q, &errand);
    return status;
}

static int redis_renew(struct queue *base, const char *id, int attempt, struct err *e)
{
    struct redis_queue *q = (struct redis_queue *)base;
    int status = store_renew(q->store, id, attempt, clock_lease_ms() + QUEUE_LEASE_MS, e);
    if (!status)
        push(q, ERRAND_KEEP, id);
    return status;
}

static void redis_over(struct queue *base, const char *id, const struct queue_end *end)
{
    struct redis_queue *q = (struct redis_queue *)base;
    struct errand errand = {.kind = end->dead ? ERRAND_DEAD : ERRAND_OVER,
                            .seconds = end->seconds};
    (void)snprintf(errand.id, sizeof errand.id, "%s", id);
    redis_errand(q, &errand);
}

static int redis_recover(struct queue *base, bool all, int64_t *count, struct err *e)
{
    struct redis_queue *q = (struct redis_queue *)base;
    int status =
        store_requeue_expired(q->store, all ? INT64_MAX : clock_lease_ms(), count, e);
    if (!status && *count)
        redis_look(q); /* which ones, only the store knows */
    return status;
}

static bool redis_wakes_one(const struct queue *base)
{
    return atomic_load(&((const struct redis_queue *)base)->up);
}

static int redis_fd(const struct queue *base)
{
    return ((const struct redis_queue *)base)->bell;
}

static void redis_clear(struct queue *base)
{
    uint64_t rings;
    ssize_t n = read(((struct redis_queue *)base)->bell, &rings, sizeof rings);
    (void)n; /* nothing to read means that it is quiet */
}

static void redis_close(struct queue *base)
{
    struct redis_queue *q = (struct redis_queue *)base;
    atomic_store(&q->closing, true);
    redis_look(q);
    redis_wake_ear(q);
    if (q->hand_runs)
        pthread_join(q->hand, NULL);
    if (q->ear_runs)
        pthread_join(q->ear, NULL);
    redis_link_close(q->link);
    redis_link_close(q->claim_link);
    redis_link_close(q->allow_link);
    if (q->bell >= 0)
        close(q->bell);
    if (q->ear_bell >= 0)
        close(q->ear_bell);
    pthread_mutex_destroy(&q->claim_lock);
    pthread_mutex_destroy(&q->allow_lock);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->news);
    redis_address_release(&q->address);
    free(q->errands);
    free(q);
}

static const struct queue_ops redis_ops = {
    .close = redis_close,
    .push = redis_push,
    .next = redis_next,
    .take = redis_take,
    .renew = redis_renew,
    .over = redis_over,
    .recover = redis_recover,
    .allow = redis_allow,
    .wakes_one = redis_wakes_one,
    .fd = redis_fd,
    .clear = redis_clear,
    .health = redis_health,
};

static int start_thread(pthread_t *thread, bool *runs, void *(*fn)(void *),
                        struct redis_queue *q, struct err *e)
{
    errno = pthread_create(thread, NULL, fn, q);
    *runs = !errno;
    return errno ? err_errno(e, "cannot start a thread") : 0;
}

/* The first try: what will not mend by itself is said now. */
static int greet(struct redis_queue *q, struct err *e)
{
    struct err why = {0};
    char where[400];
    int status = redis_come_back(q, &why);
    if (status == ERR_DENIED || status == ERR_UNSUPPORTED || status == ERR_INVALID)
        return err_set(e, status, "REDIS_URL: %s", why.message);
    if (status)
        log_warning("Redis is not there yet, jobs are taken from the database until it "
                    "is: %s",
                    why.message);
    else
        log_info("the queue is on %s",
                 redis_address_print(&q->address, where, sizeof where));
    return 0;
}

static int set_up(struct redis_queue *q, struct store *s, const struct redis_options *o,
                  struct err *e)
{
    pthread_condattr_t monotonic;
    q->base.ops = &redis_ops;
    q->store = s;
    pthread_mutex_init(&q->claim_lock, NULL);
    pthread_mutex_init(&q->allow_lock, NULL);
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&q->news, &monotonic);
    pthread_condattr_destroy(&monotonic);
    id_new(q->token);
    (void)snprintf(q->prefix, sizeof q->prefix, "wt:{%s}:", o->name);
    q->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->ear_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->bell < 0 || q->ear_bell < 0)
        return err_errno(e, "cannot make the queue's doorbell");
    return redis_address_parse(&q->address, o->url, o->ca_file, e);
}

int queue_redis_open(struct queue **out, struct store *s, const struct redis_options *o,
                     struct err *e)
{
    *out = NULL;
    struct redis_queue *q = calloc(1, sizeof *q);
    if (!q)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = set_up(q, s, o, e);
    if (!status)
        status = greet(q, e);
    if (!status)
        status = start_thread(&q->hand, &q->hand_runs, redis_hand, q, e);
    if (!status)
        status = start_thread(&q->ear, &q->ear_runs, redis_ear, q, e);
    if (status) {
        redis_close(&q->base);
        return status;
    }
    *out = &q->base;
    return 0;
}
