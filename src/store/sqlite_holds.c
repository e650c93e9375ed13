/* Holds in SQL: see holds.h. The triggers that keep what is on hold are in migrations.c.
 */
#include "store/holds.h"

#include "base/mem.h"
#include "store/sqlite_conn.h"
#include "store/sqlite_read.h"

#define READER(s)    sqlite_store_reader((struct sqlite_store *)(s))
#define WRITER(s)    sqlite_store_writer((struct sqlite_store *)(s))
#define LIST_AT_ONCE 1000

static int holds_set(struct store *s, const struct store_hold *h, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "INSERT INTO job_holds (job_id, reason, placed_by, placed_ms)"
                            "  SELECT id, ?2, ?3, ?4 FROM jobs WHERE id = ?1"
                            "  ON CONFLICT (job_id) DO UPDATE SET"
                            "  reason = excluded.reason, placed_by = excluded.placed_by,"
                            "  placed_ms = excluded.placed_ms",
                            "tttl", h->job_id, h->reason, h->placed_by, h->placed_ms);
    sqlite_store_done(c);
    return n < 0 ? n : n == 0 ? sqlite_no_such_job(e, h->job_id) : 0;
}

static int no_hold(struct err *e, const char *id)
{
    return err_set(e, ERR_NOT_FOUND, "the job %.36s is not on hold", id);
}

static int holds_drop(struct store *s, const char *id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "DELETE FROM job_holds WHERE job_id = ?", "t", id);
    sqlite_store_done(c);
    return n < 0 ? n : n == 0 ? no_hold(e, id) : 0;
}

static void copy(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    (void)snprintf(out, size, "%s", text ? text : "");
}

static void read_hold(sqlite3_stmt *stmt, struct store_hold *out)
{
    *out = (struct store_hold){.placed_ms = sqlite3_column_int64(stmt, 3)};
    copy(stmt, 0, out->job_id, sizeof out->job_id);
    copy(stmt, 1, out->reason, sizeof out->reason);
    copy(stmt, 2, out->placed_by, sizeof out->placed_by);
}

static int holds_get(struct store *s, const char *id, struct store_hold *out,
                     struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(
        c, "SELECT job_id, reason, placed_by, placed_ms FROM job_holds WHERE job_id = ?",
        &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "t", id);
        int step = sqlite3_step(stmt);
        if (step == SQLITE_ROW)
            read_hold(stmt, out);
        else
            status = step == SQLITE_DONE ? no_hold(e, id) : sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

static int add_row(struct store_hold_list *l, size_t *room, sqlite3_stmt *stmt,
                   struct err *e)
{
    if (l->count == *room) {
        size_t more = *room ? *room * 2 : LIST_AT_ONCE;
        struct store_hold *grown = mem_array(more, sizeof *grown);
        if (!grown)
            return err_set(e, ERR_NOMEM, "out of memory");
        if (l->count)
            memcpy(grown, l->holds, l->count * sizeof *grown);
        free(l->holds);
        l->holds = grown;
        *room = more;
    }
    read_hold(stmt, &l->holds[l->count++]);
    return 0;
}

static int holds_list(struct store *s, struct store_hold_list *out, struct err *e)
{
    sqlite3_stmt *stmt;
    size_t room = 0;
    *out = (struct store_hold_list){0};
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(c,
                                     "SELECT job_id, reason, placed_by, placed_ms FROM "
                                     "job_holds ORDER BY placed_ms, job_id",
                                     &stmt, e);
    if (!status) {
        int step;
        while (!status && (step = sqlite3_step(stmt)) == SQLITE_ROW)
            status = add_row(out, &room, stmt, e);
        if (!status && step != SQLITE_DONE)
            status = sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    if (status)
        store_hold_list_release(out);
    return status;
}

const struct store_holds_ops sqlite_holds_ops = {
    .set = holds_set,
    .drop = holds_drop,
    .get = holds_get,
    .list = holds_list,
};
