/* The audit log in SQL. */
#include "store/audit.h"

#include "base/mem.h"
#include "store/sqlite_conn.h"

void store_audit_list_release(struct store_audit_list *l)
{
    if (!l)
        return;
    free(l->entries);
    *l = (struct store_audit_list){0};
}

static int audit_add(struct store *s, const struct store_audit_entry *x, struct err *e)
{
    struct sqlite_conn *c = sqlite_store_writer((struct sqlite_store *)s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        int n = sqlite_conn_run(c, e,
                                "INSERT INTO audit (time_ms, event, caller, client, "
                                "detail) VALUES (?, ?, ?, ?, ?)",
                                "ltttt", x->time_ms, x->event, x->caller, x->client,
                                x->detail);
        if (n >= 0)
            n = sqlite_conn_run(c, e,
                                "DELETE FROM audit WHERE id <= last_insert_rowid() - ?",
                                "l", (int64_t)STORE_AUDIT_KEPT);
        status = sqlite_conn_end(c, n < 0 ? n : 0, e);
    }
    sqlite_store_done(c);
    return status;
}

static void copy_text(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    (void)snprintf(out, size, "%s", text ? text : "");
}

static void read_entry(sqlite3_stmt *stmt, struct store_audit_entry *x)
{
    *x = (struct store_audit_entry){.id = sqlite3_column_int64(stmt, 0),
                                    .time_ms = sqlite3_column_int64(stmt, 1)};
    copy_text(stmt, 2, x->event, sizeof x->event);
    copy_text(stmt, 3, x->caller, sizeof x->caller);
    copy_text(stmt, 4, x->client, sizeof x->client);
    copy_text(stmt, 5, x->detail, sizeof x->detail);
}

static int read_list(struct sqlite_conn *c, sqlite3_stmt *stmt,
                     struct store_audit_list *out, struct err *e)
{
    size_t capacity = 0;
    for (;;) {
        int step = sqlite3_step(stmt);
        if (step == SQLITE_DONE)
            return 0;
        if (step != SQLITE_ROW)
            return sqlite_conn_error(c, e);
        if (mem_grow(&out->entries, &capacity, out->count + 1, sizeof *out->entries))
            return err_set(e, ERR_NOMEM, "out of memory");
        read_entry(stmt, &out->entries[out->count++]);
    }
}

static int audit_list(struct store *s, int64_t before, int64_t limit,
                      struct store_audit_list *out, struct err *e)
{
    *out = (struct store_audit_list){0};
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = sqlite_store_reader((struct sqlite_store *)s);
    int status = sqlite_conn_prepare(c,
                                     "SELECT id, time_ms, event, caller, client, detail "
                                     "FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
                                     &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "ll", before > 0 ? before : INT64_MAX, limit);
        status = read_list(c, stmt, out, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    if (status)
        store_audit_list_release(out);
    return status;
}

const struct store_audit_ops sqlite_audit_ops = {.add = audit_add, .list = audit_list};
