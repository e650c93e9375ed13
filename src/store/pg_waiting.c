/* Jobs that wait, in PostgreSQL, for a queue that stands beside it: see waiting.h. */
#include "base/mem.h"
#include "store/pg_jobs.h"
#include "store/waiting.h"

#define COLUMNS                                                                          \
    "id, caller, model, priority, attempt, created_ms, run_after_ms, file_bytes, "       \
    "duration_seconds"

/* What store_claim would take, were it due. */
#define WAITS                                                                            \
    "status = 'pending' AND NOT EXISTS "                                                 \
    "(SELECT 1 FROM job_sources WHERE job_id = jobs.id AND NOT fetched)"

static int read_row(const PGresult *r, int row, struct store_waiting *w, struct err *e)
{
    *w = (struct store_waiting){.priority = (int)pg_int(r, row, 3),
                                .attempt = (int)pg_int(r, row, 4),
                                .created_ms = pg_int(r, row, 5),
                                .run_after_ms = pg_int(r, row, 6),
                                .file_bytes = pg_int(r, row, 7),
                                .seconds = pg_double(r, row, 8)};
    if (!id_valid(pg_text(r, row, 0)))
        return err_set(e, ERR_CORRUPT, "a job in the database has no valid id");
    pg_copy_to(r, row, 0, w->id, ID_SIZE);
    w->caller = mem_strdup(pg_text(r, row, 1));
    w->model = mem_strdup(pg_text(r, row, 2));
    if (w->caller && w->model)
        return 0;
    store_waiting_release(w);
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int read_list(const PGresult *r, struct store_waiting_list *out, struct err *e)
{
    int rows = PQntuples(r), status = 0;
    out->list = calloc((size_t)rows + 1, sizeof *out->list);
    if (!out->list)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < rows && !status; i++) {
        status = read_row(r, i, &out->list[out->count], e);
        out->count += !status;
    }
    return status;
}

static int waiting_list(struct store *s, const struct store_waiting *after, size_t max,
                        struct store_waiting_list *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    *out = (struct store_waiting_list){0};
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        store_waiting_list_release(out);
        status =
            pg_ask(t.conn, &r, e,
                   "SELECT " COLUMNS " FROM jobs WHERE " WAITS " AND (" PG_QUEUE_ORDER
                   ", id) > ($1, $2) ORDER BY " PG_QUEUE_ORDER ", id LIMIT $3",
                   "ltl", after ? store_waiting_turn(after) : INT64_MIN,
                   after ? after->id : "", (int64_t)max);
        if (!status)
            status = read_list(r, out, e);
        PQclear(r);
    }
    if (status)
        store_waiting_list_release(out);
    return status;
}

static int waiting_get(struct store *s, const char *id, struct store_waiting *out,
                       struct err *e)
{
    int status;
    struct store_waiting found = {0};
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        store_waiting_release(&found);
        status = pg_ask(t.conn, &r, e,
                        "SELECT " COLUMNS " FROM jobs WHERE id = $1 AND " WAITS, "t", id);
        if (!status && !PQntuples(r))
            status = err_set(e, ERR_NOT_FOUND, "the job %.36s does not wait", id);
        if (!status)
            status = read_row(r, 0, &found, e);
        PQclear(r);
    }
    if (status)
        store_waiting_release(&found);
    else
        *out = found;
    return status;
}

static int claim_one(struct pg_store *s, struct pg_conn *c, const char *id, int attempt,
                     const char *owner, int64_t now_ms, int64_t lease_ms, struct err *e)
{
    int n = pg_run(
        c, e,
        "UPDATE jobs SET status = 'processing', attempt = attempt + 1, owner = $1, "
        "holder = $2, lease_until_ms = $3, message = 'Starting', "
        "started_ms = CASE WHEN started_ms = 0 THEN greatest($4, created_ms) "
        "ELSE started_ms END "
        "WHERE id = $5 AND attempt = $6 AND run_after_ms <= $4 AND " WAITS,
        "tillti", owner, s->pool.instance, lease_ms, now_ms, id, attempt);
    if (n == 0)
        return err_set(e, ERR_STATE, "the job %.36s cannot be claimed now", id);
    return n < 0 ? n : 0;
}

static int waiting_claim(struct store *s, const char *id, int attempt, const char *owner,
                         int64_t now_ms, int64_t lease_ms, struct job *out, struct err *e)
{
    int status;
    struct job found = {0};
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        job_release(&found);
        status = claim_one((struct pg_store *)s, t.conn, id, attempt, owner, now_ms,
                           lease_ms, e);
        if (!status)
            status = pg_get_with(t.conn, id, &found, e);
    }
    if (status)
        job_release(&found);
    else
        *out = found;
    return status;
}

const struct store_waiting_ops pg_waiting_ops = {
    .list = waiting_list,
    .get = waiting_get,
    .claim = waiting_claim,
};
