/* How often somebody came, in PostgreSQL: see rates.h. The table is not logged, so that
 * counting costs no write that waits for a disk. */
#include "store/pg_jobs.h"
#include "store/rates.h"

#define NOW_US "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

/* `excluded.whole_us - $2` is the present. A row that the statement does not see yet was
 * made by somebody at this very moment. */
#define TAKE                                                                             \
    "WITH present AS MATERIALIZED (SELECT " NOW_US " AS us), "                           \
    "taken AS (INSERT INTO rates AS r (name, whole_us) SELECT $1, us + $2 FROM present " \
    "ON CONFLICT (name) DO UPDATE SET "                                                  \
    "whole_us = GREATEST(r.whole_us, excluded.whole_us - $2) + $2 "                      \
    "WHERE GREATEST(r.whole_us - excluded.whole_us + $2, 0) + $2 <= $3 "                 \
    "RETURNING whole_us) "                                                               \
    "SELECT EXISTS (SELECT 1 FROM taken), COALESCE((SELECT whole_us FROM taken), "       \
    "(SELECT whole_us FROM rates WHERE name = $1), us + $3) - us FROM present"

static int rates_take(struct store *s, const char *name, int64_t interval_us,
                      int64_t burst_us, struct store_rate *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    *out = (struct store_rate){0};
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e, TAKE, "tll", name, interval_us, burst_us);
        if (!status) {
            out->allowed = pg_bool(r, 0, 0);
            out->reset_us = pg_int(r, 0, 1) > 0 ? pg_int(r, 0, 1) : 0;
        }
        PQclear(r);
    }
    int64_t wait_us = out->reset_us + interval_us - burst_us;
    out->wait_us = out->allowed ? 0 : wait_us > 0 ? wait_us : 1;
    return status;
}

static int rates_trim(struct store *s, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e, "DELETE FROM rates WHERE whole_us < " NOW_US, "");
        status = n < 0 ? n : 0;
    }
    return status;
}

const struct store_rates_ops pg_rates_ops = {.take = rates_take, .trim = rates_trim};
