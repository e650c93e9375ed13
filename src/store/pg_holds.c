/* Holds in PostgreSQL: see holds.h. The triggers are in pg_schema.c. */
#include "store/holds.h"

#include "base/mem.h"
#include "store/pg_jobs.h"

/* The row is locked, so that whoever is about to change it sees the hold or is done. */
static int holds_set(struct store *s, const struct store_hold *h, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "INSERT INTO job_holds (job_id, reason, placed_by, placed_ms)"
                       "  SELECT id, $2, $3, $4 FROM"
                       "    (SELECT id FROM jobs WHERE id = $1 FOR UPDATE) AS job"
                       "  ON CONFLICT (job_id) DO UPDATE SET reason = excluded.reason,"
                       "  placed_by = excluded.placed_by, placed_ms = excluded.placed_ms",
                       "tttl", h->job_id, h->reason, h->placed_by, h->placed_ms);
        status = n < 0 ? n : n == 0 ? pg_no_such_job(e, h->job_id) : 0;
    }
    return status;
}

static int no_hold(struct err *e, const char *id)
{
    return err_set(e, ERR_NOT_FOUND, "the job %.36s is not on hold", id);
}

static int holds_drop(struct store *s, const char *id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e, "DELETE FROM job_holds WHERE job_id = $1", "t", id);
        status = n < 0 ? n : n == 0 ? no_hold(e, id) : 0;
    }
    return status;
}

static void read_hold(const PGresult *r, int row, struct store_hold *out)
{
    *out = (struct store_hold){.placed_ms = pg_int(r, row, 3)};
    pg_copy_to(r, row, 0, out->job_id, sizeof out->job_id);
    pg_copy_to(r, row, 1, out->reason, sizeof out->reason);
    pg_copy_to(r, row, 2, out->placed_by, sizeof out->placed_by);
}

static int holds_get(struct store *s, const char *id, struct store_hold *out,
                     struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT job_id, reason, placed_by, placed_ms FROM job_holds "
                        "WHERE job_id = $1",
                        "t", id);
        if (!status && !PQntuples(r))
            status = no_hold(e, id);
        if (!status)
            read_hold(r, 0, out);
        PQclear(r);
    }
    return status;
}

static int read_all(const PGresult *r, struct store_hold_list *out, struct err *e)
{
    int n = PQntuples(r);
    if (n <= 0)
        return 0;
    out->holds = mem_array((size_t)n, sizeof *out->holds);
    if (!out->holds)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++)
        read_hold(r, i, &out->holds[out->count++]);
    return 0;
}

static int holds_list(struct store *s, struct store_hold_list *out, struct err *e)
{
    int status;
    *out = (struct store_hold_list){0};
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        store_hold_list_release(out);
        status = pg_ask(t.conn, &r, e,
                        "SELECT job_id, reason, placed_by, placed_ms FROM job_holds "
                        "ORDER BY placed_ms, job_id",
                        "");
        if (!status)
            status = read_all(r, out, e);
        PQclear(r);
    }
    if (status)
        store_hold_list_release(out);
    return status;
}

const struct store_holds_ops pg_holds_ops = {
    .set = holds_set,
    .drop = holds_drop,
    .get = holds_get,
    .list = holds_list,
};
