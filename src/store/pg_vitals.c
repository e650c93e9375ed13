#include "store/vitals.h"

#include "base/clock.h"
#include "store/pg_jobs.h"
#include "store/pg_pool.h"

static int ask_little(struct pg_conn *c, double *seconds, struct err *e)
{
    PGresult *r;
    int64_t begun_ns = clock_monotonic_ns();
    int status = pg_ask(c, &r, e, "SELECT 1", "");
    *seconds = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    PQclear(r);
    return status;
}

static int ask_size(struct pg_conn *c, int64_t *bytes, struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e, "SELECT pg_database_size(current_database())", "");
    if (!status)
        *bytes = pg_int(r, 0, 0);
    PQclear(r);
    return status;
}

static int ask_counts(struct pg_conn *c, int64_t lease_now_ms, struct store_vitals *out,
                      struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e, STORE_VITALS_SQL("NOT done"), "l", lease_now_ms);
    if (!status) {
        out->leases = pg_int(r, 0, 0);
        out->leases_lapsed = pg_int(r, 0, 1);
        out->oldest_ms = pg_int(r, 0, 2);
        out->notices = pg_int(r, 0, 3);
        out->notices_failed = pg_int(r, 0, 4);
        out->oldest_notice_ms = pg_int(r, 0, 5);
        out->uploads = pg_int(r, 0, 6);
        out->uploads_bytes = pg_int(r, 0, 7);
    }
    PQclear(r);
    return status;
}

/* Ours is not counted: it is asked for before. */
static void count_taken(struct pg_pool *p, struct store_vitals *out)
{
    pthread_mutex_lock(&p->lock);
    out->connections = 0;
    out->connections_most = (int64_t)p->count;
    for (size_t i = 0; i < p->count; i++)
        out->connections += p->conns[i].taken;
    pthread_mutex_unlock(&p->lock);
}

static int look(struct store *s, int64_t lease_now_ms, struct store_vitals *out,
                struct err *e)
{
    int status;
    *out = (struct store_vitals){.kind = "postgresql", .journal_bytes = -1};
    count_taken(&((struct pg_store *)s)->pool, out);
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        status = ask_little(t.conn, &out->answer_seconds, e);
        if (!status)
            status = ask_size(t.conn, &out->size_bytes, e);
        if (!status)
            status = ask_counts(t.conn, lease_now_ms, out, e);
    }
    return status;
}

const struct store_vitals_ops pg_vitals_ops = {.look = look};
