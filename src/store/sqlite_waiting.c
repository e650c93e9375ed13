/* Jobs that wait, for a queue that stands beside the database. */
#include "base/mem.h"
#include "store/sqlite_native.h"
#include "store/sqlite_read.h"
#include "store/waiting.h"

#define COLUMNS                                                                          \
    "id, caller, model, priority, attempt, created_ms, run_after_ms, file_bytes, "       \
    "duration_seconds"

/* What store_claim would take, were it due. */
#define WAITS                                                                            \
    "status = 'pending' AND NOT EXISTS "                                                 \
    "(SELECT 1 FROM job_sources WHERE job_id = jobs.id AND NOT fetched)"

static int read_row(sqlite3_stmt *stmt, struct store_waiting *w, struct err *e)
{
    const char *id = (const char *)sqlite3_column_text(stmt, 0);
    const char *caller = (const char *)sqlite3_column_text(stmt, 1);
    const char *model = (const char *)sqlite3_column_text(stmt, 2);
    *w = (struct store_waiting){0};
    if (!id_valid(id))
        return err_set(e, ERR_CORRUPT, "a job in the database has no valid id");
    memcpy(w->id, id, ID_SIZE);
    w->caller = mem_strdup(caller ? caller : "");
    w->model = mem_strdup(model ? model : "");
    w->priority = sqlite3_column_int(stmt, 3);
    w->attempt = sqlite3_column_int(stmt, 4);
    w->created_ms = sqlite3_column_int64(stmt, 5);
    w->run_after_ms = sqlite3_column_int64(stmt, 6);
    w->file_bytes = sqlite3_column_int64(stmt, 7);
    w->seconds = sqlite3_column_double(stmt, 8);
    if (w->caller && w->model)
        return 0;
    store_waiting_release(w);
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int read_list(struct sqlite_conn *c, sqlite3_stmt *stmt,
                     struct store_waiting_list *out, struct err *e)
{
    size_t capacity = 0;
    int status = 0, step;
    while (!status && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (step != SQLITE_ROW)
            status = sqlite_conn_error(c, e);
        else if (mem_grow(&out->list, &capacity, out->count + 1, sizeof *out->list))
            status = err_set(e, ERR_NOMEM, "out of memory");
        else if (!(status = read_row(stmt, &out->list[out->count], e)))
            out->count++;
    }
    return status;
}

static int waiting_list(struct store *s, const struct store_waiting *after, size_t max,
                        struct store_waiting_list *out, struct err *e)
{
    sqlite3_stmt *stmt;
    *out = (struct store_waiting_list){0};
    struct sqlite_conn *c = sqlite_store_reader((struct sqlite_store *)s);
    int status = sqlite_conn_prepare(
        c,
        "SELECT " COLUMNS " FROM jobs WHERE " WAITS " AND (" SQLITE_QUEUE_ORDER
        ", id) > (?, ?) ORDER BY " SQLITE_QUEUE_ORDER ", id LIMIT ?",
        &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "ltl", after ? store_waiting_turn(after) : INT64_MIN,
                         after ? after->id : "", (int64_t)max);
        status = read_list(c, stmt, out, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    if (status)
        store_waiting_list_release(out);
    return status;
}

static int waiting_get(struct store *s, const char *id, struct store_waiting *out,
                       struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = sqlite_store_reader((struct sqlite_store *)s);
    int status = sqlite_conn_prepare(
        c, "SELECT " COLUMNS " FROM jobs WHERE id = ? AND " WAITS, &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "t", id);
        int step = sqlite3_step(stmt);
        if (step == SQLITE_ROW)
            status = read_row(stmt, out, e);
        else if (step == SQLITE_DONE)
            status = err_set(e, ERR_NOT_FOUND, "the job %.36s does not wait", id);
        else
            status = sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

static int waiting_claim(struct store *s, const char *id, int attempt, const char *owner,
                         int64_t now_ms, int64_t lease_ms, struct job *out, struct err *e)
{
    struct sqlite_conn *c = sqlite_store_writer((struct sqlite_store *)s);
    int n = sqlite_conn_run(
        c, e,
        "UPDATE jobs SET status = 'processing', attempt = attempt + 1, owner = ?1, "
        "lease_until_ms = ?2, message = 'Starting', "
        "started_ms = CASE WHEN started_ms = 0 THEN MAX(?3, created_ms) "
        "ELSE started_ms END "
        "WHERE id = ?4 AND attempt = ?5 AND run_after_ms <= ?3 AND " WAITS,
        "tllti", owner, lease_ms, now_ms, id, attempt);
    int status = n > 0 ? sqlite_get_with(c, id, out, e) : n;
    if (n == 0)
        status = err_set(e, ERR_STATE, "the job %.36s cannot be claimed now", id);
    sqlite_store_done(c);
    return status;
}

const struct store_waiting_ops sqlite_waiting_ops = {
    .list = waiting_list,
    .get = waiting_get,
    .claim = waiting_claim,
};
