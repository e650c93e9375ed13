/* How Redis is, for a monitor. It is the hand that asks, at its next look and only when
 * somebody wants to know: nobody who answers a request ever waits for the server. */
#include "queue/redis_queue.h"

#include "base/clock.h"

static int64_t number_after(const char *text, const char *name)
{
    const char *at = text ? strstr(text, name) : NULL;
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

int redis_measure(struct redis_queue *q, struct err *e)
{
    struct redis_words w = {0};
    redisReply *reply = NULL;
    if (!atomic_exchange(&q->measure, false))
        return 0;
    redis_words_begin(&w, "INFO memory");
    int64_t begun_ns = clock_monotonic_ns();
    int status = redis_link_ask(q->link, &w, REDIS_COMMAND_MS, &reply, e);
    double seconds = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    redis_words_release(&w);
    if (status == ERR_DENIED || status == ERR_STATE)
        return 0; /* it does not tell us; it works all the same */
    if (!status) {
        const char *text = reply->type == REDIS_REPLY_STRING ? reply->str : NULL;
        pthread_mutex_lock(&q->lock);
        q->health.answer_seconds = seconds;
        q->health.used_bytes = number_after(text, "used_memory:");
        q->health.most_bytes = number_after(text, "maxmemory:");
        pthread_mutex_unlock(&q->lock);
    }
    freeReplyObject(reply);
    return status;
}

bool redis_health(struct queue *base, struct queue_health *out)
{
    struct redis_queue *q = (struct redis_queue *)base;
    pthread_mutex_lock(&q->lock);
    *out = q->health;
    out->errands = (int64_t)q->n_errands;
    pthread_mutex_unlock(&q->lock);
    out->up = atomic_load(&q->up);
    atomic_store(&q->measure, true);
    return true;
}
