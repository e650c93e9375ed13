/* Waveforms in SQLite: a table beside the jobs, whose rows go with theirs. */
#include "store/sqlite_conn.h"
#include "store/waveform.h"

static int save(struct store *s, const char *id, int attempt, const void *bytes,
                size_t length, struct err *e)
{
    struct sqlite_conn *c = sqlite_store_writer((struct sqlite_store *)s);
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c,
        "INSERT OR REPLACE INTO waveforms (job_id, peaks) SELECT id, ?1 FROM jobs "
        "WHERE id = ?2 AND attempt = ?3 AND status = 'processing'",
        &stmt, e);
    if (!status) {
        sqlite3_bind_blob64(stmt, 1, bytes, length, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, id, -1, SQLITE_STATIC);
        sqlite3_bind_int(stmt, 3, attempt);
        int rc = sqlite3_step(stmt);
        if (rc != SQLITE_DONE)
            status = sqlite_conn_error(c, e);
        else if (sqlite3_changes(c->db) == 0)
            status = err_set(e, ERR_STATE,
                             "the job %.36s is not with this attempt any more", id);
        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
    }
    sqlite_store_done(c);
    return status;
}

static int load(struct store *s, const char *id, struct buf *out, struct err *e)
{
    struct sqlite_conn *c = sqlite_store_reader((struct sqlite_store *)s);
    sqlite3_stmt *stmt;
    int status =
        sqlite_conn_prepare(c, "SELECT peaks FROM waveforms WHERE job_id = ?1", &stmt, e);
    if (!status) {
        sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            buf_add(out, sqlite3_column_blob(stmt, 0),
                    (size_t)sqlite3_column_bytes(stmt, 0));
        else if (rc == SQLITE_DONE)
            status = err_set(e, ERR_NOT_FOUND, "the job %.36s has no waveform", id);
        else
            status = sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
    }
    sqlite_store_done(c);
    if (!status && buf_failed(out))
        status = err_set(e, ERR_NOMEM, "out of memory");
    return status;
}

const struct store_waveform_ops sqlite_waveform_ops = {.save = save, .load = load};
