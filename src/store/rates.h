/* How often somebody came, counted by all processes that share a database. The promises
 * of store.h hold but for one: what was counted need not survive the server's crash. */
#ifndef STORE_RATES_H
#define STORE_RATES_H

#include "store/store.h"

struct store_rate {
    bool allowed;
    int64_t reset_us; /* until the allowance is whole again */
    int64_t wait_us;  /* until one more may come; 0 when this one may */
};

struct store_rates_ops {
    int (*take)(struct store *s, const char *name, int64_t interval_us, int64_t burst_us,
                struct store_rate *out, struct err *e);
    int (*trim)(struct store *s, struct err *e);
};

/* Count one more of `name`: the generic cell rate algorithm, as in http/ratelimit.c, by
 * the server's clock. One is earned in each `interval_us`, all in `burst_us`.
 * ERR_UNSUPPORTED where nobody shares the database. */
static inline int store_rate_take(struct store *s, const char *name, int64_t interval_us,
                                  int64_t burst_us, struct store_rate *out, struct err *e)
{
    return s->ops->rates ? s->ops->rates->take(s, name, interval_us, burst_us, out, e)
                         : ERR_UNSUPPORTED;
}

/* Forget those whose allowance is whole. */
static inline int store_rates_trim(struct store *s, struct err *e)
{
    return s->ops->rates ? s->ops->rates->trim(s, e) : 0;
}

#endif
