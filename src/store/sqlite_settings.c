/* Settings in SQL: see settings.h for what each function answers. */
#include "store/settings.h"

#include "store/sqlite_conn.h"

#define READER(s) sqlite_store_reader((struct sqlite_store *)(s))
#define WRITER(s) sqlite_store_writer((struct sqlite_store *)(s))

static int settings_get(struct store *s, const char *name, struct buf *value,
                        struct err *e)
{
    struct sqlite_conn *c = READER(s);
    sqlite3_stmt *stmt;
    int status =
        sqlite_conn_prepare(c, "SELECT value FROM settings WHERE name = ?", &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "t", name);
        int step = sqlite3_step(stmt);
        if (step == SQLITE_ROW)
            buf_str(value, (const char *)sqlite3_column_text(stmt, 0));
        else
            status = step == SQLITE_DONE
                         ? err_set(e, ERR_NOT_FOUND, "%s was never set", name)
                         : sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    if (!status && buf_failed(value))
        status = err_set(e, ERR_NOMEM, "out of memory");
    return status;
}

static int settings_set(struct store *s, const char *name, const char *value,
                        struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n =
        value ? sqlite_conn_run(c, e,
                                "INSERT INTO settings VALUES (?, ?) "
                                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                                "tt", name, value)
              : sqlite_conn_run(c, e, "DELETE FROM settings WHERE name = ?", "t", name);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int settings_unfinished(struct store *s, const char *model, int64_t *count,
                               struct err *e)
{
    struct sqlite_conn *c = READER(s);
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c,
                                     "SELECT COUNT(*) FROM jobs WHERE model = ? AND "
                                     "status IN ('pending', 'processing')",
                                     &stmt, e);
    *count = 0;
    if (!status) {
        sqlite_conn_bind(stmt, "t", model);
        if (sqlite3_step(stmt) == SQLITE_ROW)
            *count = sqlite3_column_int64(stmt, 0);
        else
            status = sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

const struct store_settings_ops sqlite_settings_ops = {
    .get = settings_get,
    .set = settings_set,
    .unfinished = settings_unfinished,
};
