/* The audit log in PostgreSQL. */
#include "store/audit.h"

#include "base/mem.h"
#include "store/pg_jobs.h"

static int add_with(struct pg_conn *c, const struct store_audit_entry *x, struct err *e)
{
    PGresult *r;
    int64_t id = 0;
    int status = pg_ask(c, &r, e,
                        "INSERT INTO audit (time_ms, event, caller, client, detail) "
                        "VALUES ($1, $2, $3, $4, $5) RETURNING id",
                        "ltttt", x->time_ms, x->event, x->caller, x->client, x->detail);
    if (!status)
        id = pg_int(r, 0, 0);
    PQclear(r);
    /* Now and then: whoever is refused should not have to look through the whole log. */
    if (status || id % 64)
        return status;
    int n = pg_run(c, e,
                   "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= $1 "
                   "FOR UPDATE SKIP LOCKED)",
                   "l", id - STORE_AUDIT_KEPT);
    return n < 0 ? n : 0;
}

static int audit_add(struct store *s, const struct store_audit_entry *x, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = add_with(t.conn, x, e);
    return status;
}

static void read_entry(const PGresult *r, int row, struct store_audit_entry *x)
{
    *x =
        (struct store_audit_entry){.id = pg_int(r, row, 0), .time_ms = pg_int(r, row, 1)};
    pg_copy_to(r, row, 2, x->event, sizeof x->event);
    pg_copy_to(r, row, 3, x->caller, sizeof x->caller);
    pg_copy_to(r, row, 4, x->client, sizeof x->client);
    pg_copy_to(r, row, 5, x->detail, sizeof x->detail);
}

static int read_list(const PGresult *r, struct store_audit_list *out, struct err *e)
{
    int n = PQntuples(r);
    if (!n)
        return 0;
    out->entries = mem_array((size_t)n, sizeof *out->entries);
    if (!out->entries)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++)
        read_entry(r, i, &out->entries[i]);
    out->count = (size_t)n;
    return 0;
}

static int audit_list(struct store *s, int64_t before, int64_t limit,
                      struct store_audit_list *out, struct err *e)
{
    int status;
    *out = (struct store_audit_list){0};
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT id, time_ms, event, caller, client, detail FROM audit "
                        "WHERE id < $1 ORDER BY id DESC LIMIT $2",
                        "ll", before > 0 ? before : INT64_MAX, limit);
        if (!status)
            status = read_list(r, out, e);
        PQclear(r);
    }
    return status;
}

const struct store_audit_ops pg_audit_ops = {.add = audit_add, .list = audit_list};
