/* The hand: runs errands to Redis for those who must not wait, and brings Redis back when
 * it was away. */
#include "queue/redis_queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>

/* More errands are not kept: the store is compared instead. */
#define MOST_ERRANDS 4096
#define SECOND_NS    INT64_C(1000000000)
/* Between two looks at the store, and how much of the time they may take. */
#define REFILL_NS    (3 * SECOND_NS)
#define REFILL_SHARE 20

/* ---- leaving errands --------------------------------------------------------------- */

void redis_errand(struct redis_queue *q, const struct errand *errand)
{
    pthread_mutex_lock(&q->lock);
    if (q->n_errands >= MOST_ERRANDS ||
        mem_grow(&q->errands, &q->errands_capacity, q->n_errands + 1, sizeof *errand))
        q->look = true;
    else
        q->errands[q->n_errands++] = *errand;
    pthread_cond_signal(&q->news);
    pthread_mutex_unlock(&q->lock);
}

void redis_look(struct redis_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->look = true;
    pthread_cond_signal(&q->news);
    pthread_mutex_unlock(&q->lock);
}

/* ---- running them ------------------------------------------------------------------ */

static int run_script(struct redis_queue *q, const struct redis_script *script,
                      const struct redis_words *w, struct err *e)
{
    return redis_script_run(q->link, script, q->prefix, w, REDIS_COMMAND_MS, NULL, e);
}

/* What has just become pending; the store says what it is. */
static int run_pushes(struct redis_queue *q, const struct errand *list, size_t count,
                      struct redis_words *w, struct err *e)
{
    redis_words_begin(w, "");
    for (size_t i = 0; i < count; i++) {
        struct store_waiting job = {0};
        int status = store_waiting_get(q->store, list[i].id, &job, e);
        if (!status)
            redis_describe(w, &job, clock_now_ms());
        else if (status != ERR_NOT_FOUND)
            redis_look(q); /* the store will say later */
        store_waiting_release(&job);
    }
    return w->count ? run_script(q, &redis_script_add, w, e) : 0;
}

static int run_keeps(struct redis_queue *q, const struct errand *list, size_t count,
                     struct redis_words *w, struct err *e)
{
    redis_words_begin(w, "");
    redis_words_number(w, QUEUE_LEASE_MS);
    for (size_t i = 0; i < count; i++)
        redis_words_add(w, list[i].id);
    return run_script(q, &redis_script_keep, w, e);
}

static int run_drops(struct redis_queue *q, const struct errand *list, size_t count,
                     struct redis_words *w, struct err *e)
{
    redis_words_begin(w, "");
    for (size_t i = 0; i < count; i++) {
        redis_words_add(w, list[i].id);
        redis_words_number(w, (int64_t)(list[i].seconds + 0.5));
        if (list[i].kind == ERRAND_REFUSED)
            redis_words_number(w, list[i].attempt);
        else
            redis_words_add(w, list[i].kind == ERRAND_DEAD ? "dead" : "over");
    }
    return run_script(q, &redis_script_drop, w, e);
}

static bool is_drop(enum errand_kind kind)
{
    return kind == ERRAND_OVER || kind == ERRAND_DEAD || kind == ERRAND_REFUSED;
}

/* In the order in which they were left; those of a kind together. */
static int run_errands(struct redis_queue *q, const struct errand *list, size_t count,
                       struct err *e)
{
    struct redis_words w = {0};
    int status = 0;
    for (size_t i = 0, n; !status && i < count; i += n) {
        enum errand_kind kind = list[i].kind;
        for (n = 1; n < REDIS_ADD_MOST && i + n < count; n++)
            if (list[i + n].kind != kind && !(is_drop(kind) && is_drop(list[i + n].kind)))
                break;
        status = kind == ERRAND_PUSH   ? run_pushes(q, list + i, n, &w, e)
                 : kind == ERRAND_KEEP ? run_keeps(q, list + i, n, &w, e)
                                       : run_drops(q, list + i, n, &w, e);
    }
    redis_words_release(&w);
    return status;
}

/* ---- away and back ----------------------------------------------------------------- */

static int look_at_the_store(struct redis_queue *q, struct err *e)
{
    int64_t began = clock_monotonic_ns();
    pthread_mutex_lock(&q->lock);
    q->look = false; /* whoever wants one from now on may have seen what it will not */
    pthread_mutex_unlock(&q->lock);
    int status = redis_refill(q, e);
    int64_t now = clock_monotonic_ns(), wait = (now - began) * REFILL_SHARE;
    q->refill_at_ns = now + (wait > REFILL_NS ? wait : REFILL_NS);
    return status;
}

int redis_come_back(struct redis_queue *q, struct err *e)
{
    struct redis_link *link = NULL;
    redis_link_close(q->link);
    q->link = NULL;
    int status = redis_link_open(&q->link, &q->address, e);
    if (!status)
        status = look_at_the_store(q, e);
    if (!status)
        status = redis_link_open(&link, &q->address, e);
    if (status)
        return status;
    pthread_mutex_lock(&q->claim_lock);
    redis_link_close(q->claim_link);
    q->claim_link = link;
    atomic_store(&q->up, true);
    pthread_mutex_unlock(&q->claim_lock);
    redis_ring(q);
    return 0;
}

enum news {
    NEWS_NONE,
    NEWS_TIME, /* the store is to be looked at, by one of all processes */
    NEWS_LOOK, /* by this one */
};

/* Until there is something to do, or the time has come. The errands go to *out, which is
 * the caller's. */
static enum news wait_for_news(struct redis_queue *q, int64_t until_ns, bool up,
                               struct errand **out, size_t *count)
{
    struct timespec until = {.tv_sec = until_ns / SECOND_NS,
                             .tv_nsec = until_ns % SECOND_NS};
    int rc = 0;
    pthread_mutex_lock(&q->lock);
    while (rc != ETIMEDOUT && !atomic_load(&q->closing) && up == atomic_load(&q->up) &&
           !(up && (q->n_errands || q->look)))
        rc = pthread_cond_timedwait(&q->news, &q->lock, &until);
    enum news news = q->look ? NEWS_LOOK : rc == ETIMEDOUT ? NEWS_TIME : NEWS_NONE;
    *out = NULL;
    *count = 0;
    if (up) {
        *out = q->errands;
        *count = q->n_errands;
        q->errands = NULL;
        q->n_errands = q->errands_capacity = 0;
    }
    pthread_mutex_unlock(&q->lock);
    /* At the end, what was left is still done: others are to go on with it. */
    return atomic_load(&q->closing) ? NEWS_NONE : news;
}

static int look_if_due(struct redis_queue *q, enum news news, struct err *e)
{
    bool mine = true;
    int status = news == NEWS_TIME ? redis_my_turn(q, &mine, e) : 0;
    if (status || !mine) {
        q->refill_at_ns = clock_monotonic_ns() + REFILL_NS;
        return status;
    }
    status = look_at_the_store(q, e);
    for (int i = 0; status == ERR_STATE && i < 2; i++)
        status = look_at_the_store(q, e); /* emptied while it was filled */
    if (status && q->store_failed) {
        log_warning("the queue is not compared with the database now: %s", e->message);
        status = 0;
    }
    return status;
}

static void serve(struct redis_queue *q)
{
    struct errand *errands;
    size_t count;
    struct err e = {0};
    redis_allow_connect(q);
    enum news news = wait_for_news(q, q->refill_at_ns, true, &errands, &count);
    int status = count ? run_errands(q, errands, count, &e) : 0;
    free(errands);
    if (!status && news != NEWS_NONE)
        status = look_if_due(q, news, &e);
    if (!status)
        status = redis_measure(q, &e);
    if (status) {
        q->failures = 0;
        redis_away(q, &e);
    }
}

static void bring_back(struct redis_queue *q)
{
    struct errand *none;
    size_t count;
    struct err e = {0};
    int64_t wait_ms =
        queue_backoff_ms(++q->failures, REDIS_BACKOFF_MS, REDIS_BACKOFF_MOST_MS);
    (void)wait_for_news(q, clock_monotonic_ns() + wait_ms * 1000000, false, &none,
                        &count);
    if (atomic_load(&q->closing))
        return;
    int status = redis_come_back(q, &e);
    if (!status) {
        log_info("Redis is back");
        redis_wake_ear(q); /* what it listens to may be one that was replaced */
        q->refused_told = false;
    } else if (status == ERR_DENIED && !q->refused_told) {
        log_warning("Redis does not let us in: check REDIS_URL (%s)", e.message);
        q->refused_told = true;
    } else {
        log_event(LOG_DEBUG, NULL, "Redis is still away: %s", e.message);
    }
}

void *redis_hand(void *arg)
{
    struct redis_queue *q = arg;
    while (!atomic_load(&q->closing)) {
        if (atomic_load(&q->up)) {
            q->failures = 0;
            serve(q);
        } else {
            bring_back(q);
        }
    }
    if (atomic_load(&q->up))
        serve(q); /* what was left since */
    return NULL;
}
