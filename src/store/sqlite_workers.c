/* Who works, in SQL: a file has one service, and so one row, and that of a dead one for a
 * minute. */
#include "store/workers.h"

#include "base/mem.h"
#include "store/sqlite_conn.h"

#define READER(s) sqlite_store_reader((struct sqlite_store *)(s))
#define WRITER(s) sqlite_store_writer((struct sqlite_store *)(s))

void store_worker_list_release(struct store_worker_list *l)
{
    if (!l)
        return;
    free(l->workers);
    *l = (struct store_worker_list){0};
}

static int workers_beat(struct store *s, const struct store_worker *w, int64_t now_ms,
                        struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(
        c, e,
        "INSERT INTO workers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET models = excluded.models, jobs = excluded.jobs, "
        "real_time_factor = excluded.real_time_factor, beat_ms = excluded.beat_ms",
        "tttltiiiidll", w->id, w->host, w->version, w->pid, w->models, (int)w->embedded,
        w->threads, w->concurrency, w->jobs, w->real_time_factor, w->started_ms, now_ms);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static void copy_text(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    (void)snprintf(out, size, "%s", text ? text : "");
}

static void read_worker(sqlite3_stmt *stmt, int64_t now_ms, struct store_worker *w)
{
    *w = (struct store_worker){
        .pid = sqlite3_column_int64(stmt, 3),
        .embedded = sqlite3_column_int(stmt, 5) != 0,
        .threads = sqlite3_column_int(stmt, 6),
        .concurrency = sqlite3_column_int(stmt, 7),
        .jobs = sqlite3_column_int(stmt, 8),
        .real_time_factor = sqlite3_column_double(stmt, 9),
        .started_ms = sqlite3_column_int64(stmt, 10),
        .silent_ms = now_ms - sqlite3_column_int64(stmt, 11),
    };
    copy_text(stmt, 0, w->id, sizeof w->id);
    copy_text(stmt, 1, w->host, sizeof w->host);
    copy_text(stmt, 2, w->version, sizeof w->version);
    copy_text(stmt, 4, w->models, sizeof w->models);
}

static int read_all(struct sqlite_conn *c, sqlite3_stmt *stmt, int64_t now_ms,
                    struct store_worker_list *out, struct err *e)
{
    size_t capacity = 0;
    for (;;) {
        int step = sqlite3_step(stmt);
        if (step == SQLITE_DONE)
            return 0;
        if (step != SQLITE_ROW)
            return sqlite_conn_error(c, e);
        if (mem_grow(&out->workers, &capacity, out->count + 1, sizeof *out->workers))
            return err_set(e, ERR_NOMEM, "out of memory");
        read_worker(stmt, now_ms, &out->workers[out->count++]);
    }
}

static int workers_list(struct store *s, int64_t now_ms, struct store_worker_list *out,
                        struct err *e)
{
    *out = (struct store_worker_list){0};
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(
        c,
        "SELECT id, host, version, pid, models, embedded, threads, concurrency, jobs, "
        "real_time_factor, started_ms, beat_ms FROM workers ORDER BY started_ms, id",
        &stmt, e);
    if (!status) {
        status = read_all(c, stmt, now_ms, out, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    if (status)
        store_worker_list_release(out);
    return status;
}

static int workers_remove(struct store *s, const char *id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "DELETE FROM workers WHERE id = ?", "t", id);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int workers_trim(struct store *s, int64_t now_ms, int64_t silent_ms, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "DELETE FROM workers WHERE beat_ms < ?", "l",
                            now_ms - silent_ms);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int workers_count(struct store *s, int64_t *out, struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(c, "SELECT COUNT(*) FROM workers", &stmt, e);
    if (!status) {
        if (sqlite3_step(stmt) == SQLITE_ROW)
            *out = sqlite3_column_int64(stmt, 0);
        else
            status = sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

const struct store_workers_ops sqlite_workers_ops = {
    .beat = workers_beat,
    .list = workers_list,
    .remove = workers_remove,
    .trim = workers_trim,
    .count = workers_count,
};
