/* The embedded queue: pending rows in order of arrival, and an eventfd as the doorbell.
 */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/rates.h"

#include <sys/eventfd.h>
#include <unistd.h>

struct embedded {
    struct queue base;
    struct store *store; /* borrowed */
    int bell;            /* owned eventfd */
};

static void embedded_close(struct queue *base)
{
    struct embedded *q = (struct embedded *)base;
    close(q->bell);
    free(q);
}

static void embedded_push(struct queue *base, const char *id)
{
    struct embedded *q = (struct embedded *)base;
    (void)id; /* the row says it all */
    uint64_t one = 1;
    ssize_t n = write(q->bell, &one, sizeof one);
    (void)n; /* full means that it rings already */
}

static int embedded_next(struct queue *base, const struct store_wish *wish,
                         struct queue_ticket *out, struct err *e)
{
    (void)base;
    (void)wish;
    (void)e;
    *out = (struct queue_ticket){0}; /* the store chooses and claims in one step */
    return 0;
}

static int embedded_take(struct queue *base, const struct queue_ticket *ticket,
                         const struct store_wish *wish, const char *owner,
                         struct job *out, struct err *e)
{
    struct embedded *q = (struct embedded *)base;
    int64_t until = clock_lease_ms() + QUEUE_LEASE_MS;
    (void)ticket;
    return store_claim(q->store, wish, owner, clock_now_ms(), until, out, e);
}

static int embedded_renew(struct queue *base, const char *id, int attempt, struct err *e)
{
    struct embedded *q = (struct embedded *)base;
    return store_renew(q->store, id, attempt, clock_lease_ms() + QUEUE_LEASE_MS, e);
}

static void embedded_over(struct queue *base, const char *id, const struct queue_end *end)
{
    (void)base;
    (void)id;
    (void)end; /* the row says it all */
}

static int embedded_recover(struct queue *base, bool all, int64_t *count, struct err *e)
{
    struct embedded *q = (struct embedded *)base;
    return store_requeue_expired(q->store, all ? INT64_MAX : clock_lease_ms(), count, e);
}

static int embedded_allow(struct queue *base, const struct queue_rate *rate,
                          struct queue_allowance *out)
{
    const struct embedded *q = (const struct embedded *)base;
    struct store_rate taken;
    struct err e = {0};
    int64_t interval_us = rate->seconds * 1000000 / rate->count;
    int status = store_rate_take(q->store, rate->name, interval_us,
                                 interval_us * rate->count, &taken, &e);
    if (status && status != ERR_UNSUPPORTED)
        log_debug("rates are counted here for now: %s", e.message);
    else if (!status)
        *out = (struct queue_allowance){taken.allowed, taken.reset_us, taken.wait_us};
    return status;
}

static bool embedded_wakes_one(const struct queue *base)
{
    (void)base;
    return false;
}

static int embedded_fd(const struct queue *base)
{
    return ((const struct embedded *)base)->bell;
}

static void embedded_clear(struct queue *base)
{
    uint64_t rings;
    ssize_t n = read(((struct embedded *)base)->bell, &rings, sizeof rings);
    (void)n; /* nothing to read means that it is quiet */
}

static bool embedded_health(struct queue *base, struct queue_health *out)
{
    (void)base;
    *out = (struct queue_health){0};
    return false;
}

static const struct queue_ops embedded_ops = {
    .close = embedded_close,
    .push = embedded_push,
    .next = embedded_next,
    .take = embedded_take,
    .renew = embedded_renew,
    .over = embedded_over,
    .recover = embedded_recover,
    .allow = embedded_allow,
    .wakes_one = embedded_wakes_one,
    .fd = embedded_fd,
    .clear = embedded_clear,
    .health = embedded_health,
};

int queue_embedded_open(struct queue **out, struct store *s, struct err *e)
{
    *out = NULL;
    struct embedded *q = calloc(1, sizeof *q);
    if (!q)
        return err_set(e, ERR_NOMEM, "out of memory");
    q->base.ops = &embedded_ops;
    q->store = s;
    q->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->bell < 0) {
        int status = err_errno(e, "cannot make the queue's doorbell");
        free(q);
        return status;
    }
    *out = (struct queue *)q;
    return 0;
}
