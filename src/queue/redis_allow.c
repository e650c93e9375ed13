/* Rates that all processes share. Who asks is a request, so the answer must come at once:
 * a server that is slow once is not asked again until there is a new connection, and the
 * caller counts for itself. */
#include "queue/redis_queue.h"

#include "base/clock.h"
#include "base/log.h"

#define ALLOW_MS     100
#define RECONNECT_NS INT64_C(1000000000)
#define MS_NS        INT64_C(1000000)
#define SECOND_US    INT64_C(1000000)

/* Others ask through the same connection, each for a moment; one that is stuck holds up
 * nobody for longer than itself. The lock is tried again and again because a wait with a
 * limit goes by a clock that may jump, or is one that checkers of threads do not see. */
static bool lock_in_time(pthread_mutex_t *lock)
{
    int64_t until_ns = clock_monotonic_ns() + ALLOW_MS * MS_NS;
    const struct timespec moment = {.tv_nsec = 200000};
    while (pthread_mutex_trylock(lock)) {
        if (clock_monotonic_ns() > until_ns)
            return false;
        nanosleep(&moment, NULL);
    }
    return true;
}

static int read_answer(const redisReply *r, struct queue_allowance *out)
{
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 3)
        return ERR_CORRUPT;
    for (size_t i = 0; i < 3; i++)
        if (r->element[i]->type != REDIS_REPLY_INTEGER || r->element[i]->integer < 0)
            return ERR_CORRUPT;
    out->allowed = r->element[0]->integer == 1;
    out->reset_us = r->element[1]->integer;
    out->wait_us = r->element[2]->integer;
    return 0;
}

/* With the lock, and a link. */
static int ask(struct redis_queue *q, const struct queue_rate *rate,
               struct queue_allowance *out)
{
    struct redis_words w = {0};
    struct err e = {0};
    redisReply *reply = NULL;
    int64_t interval_us = rate->seconds * SECOND_US / rate->count;
    redis_words_begin(&w, "");
    redis_words_add(&w, rate->name);
    redis_words_number(&w, interval_us);
    redis_words_number(&w, interval_us * rate->count);
    int status = redis_script_run(q->allow_link, &redis_script_allow, q->prefix, &w,
                                  ALLOW_MS, &reply, &e);
    if (!status)
        status = read_answer(reply, out);
    freeReplyObject(reply);
    redis_words_release(&w);
    if (status) {
        log_event(LOG_DEBUG, NULL, "rates are counted here for now: %s", e.message);
        redis_link_close(q->allow_link);
        q->allow_link = NULL;
        return ERR_NETWORK;
    }
    return 0;
}

int redis_allow(struct queue *base, const struct queue_rate *rate,
                struct queue_allowance *out)
{
    struct redis_queue *q = (struct redis_queue *)base;
    if (!atomic_load(&q->up) || !lock_in_time(&q->allow_lock))
        return ERR_NETWORK;
    int status = q->allow_link ? ask(q, rate, out) : ERR_NETWORK;
    pthread_mutex_unlock(&q->allow_lock);
    return status;
}

void redis_allow_connect(struct redis_queue *q)
{
    struct redis_link *link = NULL;
    struct err e;
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&q->allow_lock);
    bool missing = !q->allow_link;
    pthread_mutex_unlock(&q->allow_lock);
    if (!missing || now < q->allow_at_ns)
        return;
    q->allow_at_ns = now + RECONNECT_NS;
    if (redis_link_open(&link, &q->address, &e))
        return;
    pthread_mutex_lock(&q->allow_lock);
    q->allow_link = link; /* nobody else sets it */
    pthread_mutex_unlock(&q->allow_lock);
}
