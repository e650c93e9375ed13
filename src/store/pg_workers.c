/* Who works, in PostgreSQL's SQL. Its own clock tells how long one was silent: those of
 * the machines need not agree. */
#include "store/workers.h"

#include "base/mem.h"
#include "store/pg_jobs.h"

#define NOW_MS "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

static int workers_beat(struct store *s, const struct store_worker *w, int64_t now_ms,
                        struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    (void)now_ms;
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(
            t.conn, e,
            "INSERT INTO workers VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
            "$11, " NOW_MS ") ON CONFLICT (id) DO UPDATE SET models = excluded.models, "
            "jobs = excluded.jobs, real_time_factor = excluded.real_time_factor, "
            "beat_ms = excluded.beat_ms",
            "tttltbiiidl", w->id, w->host, w->version, w->pid, w->models,
            (int)w->embedded, w->threads, w->concurrency, w->jobs, w->real_time_factor,
            w->started_ms);
        status = n < 0 ? n : 0;
    }
    return status;
}

static void read_worker(const PGresult *r, int row, struct store_worker *w)
{
    *w = (struct store_worker){
        .pid = pg_int(r, row, 3),
        .embedded = pg_bool(r, row, 5),
        .threads = (int)pg_int(r, row, 6),
        .concurrency = (int)pg_int(r, row, 7),
        .jobs = (int)pg_int(r, row, 8),
        .real_time_factor = pg_double(r, row, 9),
        .started_ms = pg_int(r, row, 10),
        .silent_ms = pg_int(r, row, 11),
    };
    pg_copy_to(r, row, 0, w->id, sizeof w->id);
    pg_copy_to(r, row, 1, w->host, sizeof w->host);
    pg_copy_to(r, row, 2, w->version, sizeof w->version);
    pg_copy_to(r, row, 4, w->models, sizeof w->models);
}

static int read_all(const PGresult *r, struct store_worker_list *out, struct err *e)
{
    int n = PQntuples(r);
    if (!n)
        return 0;
    out->workers = mem_array((size_t)n, sizeof *out->workers);
    if (!out->workers)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++)
        read_worker(r, i, &out->workers[i]);
    out->count = (size_t)n;
    return 0;
}

static int workers_list(struct store *s, int64_t now_ms, struct store_worker_list *out,
                        struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    *out = (struct store_worker_list){0};
    (void)now_ms;
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT id, host, version, pid, models, embedded, threads, "
                        "concurrency, jobs, real_time_factor, started_ms, " NOW_MS
                        " - beat_ms FROM workers ORDER BY started_ms, id",
                        "");
        if (!status)
            status = read_all(r, out, e);
        PQclear(r);
    }
    return status;
}

static int workers_remove(struct store *s, const char *id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e, "DELETE FROM workers WHERE id = $1", "t", id);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int workers_trim(struct store *s, int64_t now_ms, int64_t silent_ms, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    (void)now_ms;
    while (pg_turn(&t, &status, e)) {
        /* Several may do this at once: none waits for another. */
        int n = pg_run(t.conn, e,
                       "DELETE FROM workers WHERE id IN (SELECT id FROM workers WHERE "
                       "beat_ms < " NOW_MS " - $1 FOR UPDATE SKIP LOCKED)",
                       "l", silent_ms);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int workers_count(struct store *s, int64_t *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e, "SELECT COUNT(*) FROM workers", "");
        if (!status)
            *out = pg_int(r, 0, 0);
        PQclear(r);
    }
    return status;
}

const struct store_workers_ops pg_workers_ops = {
    .beat = workers_beat,
    .list = workers_list,
    .remove = workers_remove,
    .trim = workers_trim,
    .count = workers_count,
};
