/* The ear: waits for the bell on a connection of its own, so that a job that one process
 * accepts wakes an idle worker of another. Each process has a bell of its own, which
 * rings when it is chosen for a job; the one for all is for whatever concerns everybody.
 */
#include "queue/redis_queue.h"

#include "base/clock.h"

#include <poll.h>
#include <unistd.h>

/* So long nothing is heard before the server is asked whether it is there. */
#define QUIET_MS 5000

static int subscribe(struct redis_queue *q, struct redis_link *l, struct err *e)
{
    char channel[REDIS_PREFIX_SIZE + 8], own[REDIS_PREFIX_SIZE + 8 + ID_SIZE];
    struct redis_words w = {0};
    (void)snprintf(channel, sizeof channel, "%sbell", q->prefix);
    redis_words_begin(&w, "SUBSCRIBE");
    redis_words_add(&w, channel);
    (void)snprintf(own, sizeof own, "%sbell:%s", q->prefix, q->token);
    redis_words_add(&w, own);
    int status = redis_link_ask(l, &w, REDIS_COMMAND_MS, NULL, e);
    redis_words_release(&w);
    return status;
}

static int ping(struct redis_link *l, struct err *e)
{
    struct redis_words w = {0};
    redis_words_begin(&w, "PING");
    int status = redis_link_send(l, &w, REDIS_COMMAND_MS, e);
    redis_words_release(&w);
    return status;
}

/* ["message", channel, text], as opposed to the answer to a ping. */
static bool is_message(const redisReply *r)
{
    return r->type == REDIS_REPLY_ARRAY && r->elements == 3 &&
           r->element[0]->type == REDIS_REPLY_STRING &&
           !strcmp(r->element[0]->str, "message");
}

/* Until the connection fails, or the end. */
static int listen_on(struct redis_queue *q, struct redis_link *l, struct err *e)
{
    bool asked = false;
    for (;;) {
        redisReply *reply = NULL;
        int status = redis_link_hear(l, asked ? REDIS_COMMAND_MS : QUIET_MS, q->ear_bell,
                                     &reply, e);
        if (status == ERR_TIMEOUT && !asked) {
            asked = true;
            status = ping(l, e);
        } else if (!status) {
            asked = false;
            if (is_message(reply))
                redis_ring(q);
        }
        freeReplyObject(reply);
        if (status)
            return status;
    }
}

static void pause_for(struct redis_queue *q, int64_t ms)
{
    struct pollfd end = {.fd = q->ear_bell, .events = POLLIN};
    (void)poll(&end, 1, (int)ms);
}

/* Woken for good, or because the bell may hang elsewhere by now. */
static bool goes_on(struct redis_queue *q)
{
    uint64_t rings;
    ssize_t n = read(q->ear_bell, &rings, sizeof rings);
    (void)n; /* nothing to read means that nobody woke it */
    return !atomic_load(&q->closing);
}

void *redis_ear(void *arg)
{
    struct redis_queue *q = arg;
    int failures = 0;
    while (goes_on(q)) {
        struct redis_link *l = NULL;
        struct err e;
        int status = redis_link_open(&l, &q->address, &e);
        if (!status)
            status = subscribe(q, l, &e);
        if (!status) {
            failures = 0;
            redis_ring(q); /* what rang in the meantime was not heard */
            status = listen_on(q, l, &e);
        }
        redis_link_close(l);
        if (status != ERR_CANCELLED && !atomic_load(&q->closing))
            pause_for(
                q, queue_backoff_ms(++failures, REDIS_BACKOFF_MS, REDIS_BACKOFF_MOST_MS));
    }
    return NULL;
}
