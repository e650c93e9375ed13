#include "store/sqlite_share.h"

#include "base/mem.h"
#include "store/sqlite_read.h"

static int find_job(struct sqlite_conn *c, const char *key, int64_t since_ms,
                    char id[ID_SIZE], struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c,
        "SELECT id FROM job_shares JOIN jobs ON id = job_id WHERE share_key = ? "
        "AND created_ms >= ? AND status IN ('pending', 'processing', 'completed')",
        &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "tl", key, since_ms);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW)
        (void)sqlite_column_id(stmt, 0, id);
    else if (step != SQLITE_DONE)
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

static int add_job(struct sqlite_conn *c, const struct job *j, const char *sha256,
                   const char *key, struct err *e)
{
    int status = sqlite_insert_with(c, j, sha256, e);
    if (status)
        return status;
    int n = sqlite_conn_run(c, e,
                            "INSERT OR REPLACE INTO job_shares (share_key, job_id) "
                            "VALUES (?, ?)",
                            "tt", key, j->id);
    return n < 0 ? n : 0;
}

static int share_insert(struct store *s, const struct job *j, const char *sha256,
                        const char *key, int64_t since_ms, char existing[ID_SIZE],
                        struct err *e)
{
    struct sqlite_conn *c = sqlite_store_writer((struct sqlite_store *)s);
    existing[0] = '\0';
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        status = find_job(c, key, since_ms, existing, e);
        if (!status && !existing[0])
            status = add_job(c, j, sha256, key, e);
        status = sqlite_conn_end(c, status, e);
    }
    sqlite_store_done(c);
    return status;
}

static int add_window(struct store_windows *out, size_t *capacity, const char *segments)
{
    if (mem_grow(&out->list, capacity, out->count + 1, sizeof *out->list))
        return ERR_NOMEM;
    out->list[out->count] = mem_strdup(segments ? segments : "");
    if (!out->list[out->count])
        return ERR_NOMEM;
    out->count++;
    return 0;
}

static int share_windows(struct store *s, const char *id, int64_t from,
                         struct store_windows *out, struct err *e)
{
    sqlite3_stmt *stmt;
    size_t capacity = 0;
    int step;
    *out = (struct store_windows){0};
    struct sqlite_conn *c = sqlite_store_reader((struct sqlite_store *)s);
    int status = sqlite_conn_prepare(c,
                                     "SELECT segments FROM job_windows WHERE job_id = ? "
                                     "AND position >= ? ORDER BY position",
                                     &stmt, e);
    if (status)
        goto done;
    sqlite_conn_bind(stmt, "tl", id, from);
    while (!status && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (step != SQLITE_ROW)
            status = sqlite_conn_error(c, e);
        else if (add_window(out, &capacity, (const char *)sqlite3_column_text(stmt, 0)))
            status = err_set(e, ERR_NOMEM, "out of memory");
    }
    sqlite3_reset(stmt);
done:
    sqlite_store_done(c);
    if (status)
        store_windows_release(out);
    return status;
}

const struct store_share_ops sqlite_share_ops = {
    .insert = share_insert,
    .windows = share_windows,
};
