/* Keys that make a request happen once, and forgetting at once. */
#include "store/sqlite_native.h"
#include "store/sqlite_read.h"

#define WRITER(s) sqlite_store_writer((struct sqlite_store *)(s))

/* Pages of the search index that one step of tidying reads or writes, about. */
#define TIDY_PAGES 200

/* What the key was used for: ERR_EXISTS with the job's id when for the same request,
 * ERR_STATE when for another, 0 when it is free. */
static int find_key(struct sqlite_conn *c, const struct store_once *once,
                    char id[ID_SIZE], struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c, "SELECT job_id, request FROM request_keys WHERE caller = ? AND key = ?", &stmt,
        e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "tt", once->caller, once->key);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        const char *found = (const char *)sqlite3_column_text(stmt, 0);
        const char *request = (const char *)sqlite3_column_text(stmt, 1);
        if (id_valid(found) && request && !strcmp(request, once->request)) {
            memcpy(id, found, ID_SIZE);
            status = err_set(e, ERR_EXISTS, "this request was made before");
        } else {
            status = err_set(e, ERR_STATE, "the key was used for another request");
        }
    } else if (step != SQLITE_DONE) {
        status = sqlite_conn_error(c, e);
    }
    sqlite3_reset(stmt);
    return status;
}

static int insert_with_key(struct sqlite_conn *c, const struct job *j, const char *sha256,
                           const struct store_once *once, char id[ID_SIZE], struct err *e)
{
    int n = sqlite_conn_run(c, e, "DELETE FROM request_keys WHERE created_ms < ?", "l",
                            once->since_ms);
    if (n < 0)
        return n;
    int status = find_key(c, once, id, e);
    if (!status)
        status = sqlite_insert_with(c, j, sha256, e);
    if (status)
        return status;
    n = sqlite_conn_run(c, e, "INSERT INTO request_keys VALUES (?, ?, ?, ?, ?)", "ttttl",
                        once->caller, once->key, once->request, j->id, once->now_ms);
    return n < 0 ? n : 0;
}

static int sqlite_insert_once(struct store *s, const struct job *j, const char *sha256,
                              const struct store_once *once, char id[ID_SIZE],
                              struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status)
        status = sqlite_conn_end(c, insert_with_key(c, j, sha256, once, id, e), e);
    sqlite_store_done(c);
    return status;
}

/* Several statements that name one job, as one transaction. The first must find it. */
static int run_all(struct store *s, const char *const *statements, const char *id,
                   struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        for (size_t i = 0; !status && statements[i]; i++) {
            int n = sqlite_conn_run(c, e, statements[i], "t", id);
            status = n < 0 ? n : n == 0 && i == 0 ? sqlite_no_such_job(e, id) : 0;
        }
        status = sqlite_conn_end(c, status, e);
    }
    sqlite_store_done(c);
    return status;
}

static int sqlite_shed(struct store *s, const char *id, struct err *e)
{
    static const char *const statements[] = {
        "UPDATE jobs SET audio_present = 0 WHERE id = ?",
        "DELETE FROM job_windows WHERE job_id = ?", NULL};
    return run_all(s, statements, id, e);
}

static int sqlite_erase(struct store *s, const char *id, struct err *e)
{
    static const char *const statements[] = {
        "UPDATE jobs SET erased = 1, audio_present = 0, original_filename = 'recording', "
        "options = '{}', sha256 = '', language = NULL WHERE id = ?",
        "DELETE FROM transcripts WHERE job_id = ?",
        "DELETE FROM job_windows WHERE job_id = ?",
        "DELETE FROM request_keys WHERE job_id = ?",
        "DELETE FROM job_sources WHERE job_id = ?",
        "UPDATE uploads SET metadata = '' WHERE id = ?",
        /* Whom to tell stays until they were told; then it goes with the row. */
        "DELETE FROM job_webhooks WHERE job_id = ?1 AND NOT EXISTS (SELECT 1 "
        "FROM webhook_outbox WHERE job_id = ?1 AND state = 'waiting')",
        NULL};
    return run_all(s, statements, id, e);
}

/* A word that was taken out of the index is in it twice until its parts are merged: where
 * it was, and as the note that it is not there any more. SQLite merges by and by; here
 * it goes on until all is one part, as its manual has it: a negative number makes all
 * parts one task, a positive one works at it, and less than two changes mean that nothing
 * was left to do. */
static int sqlite_tidy(struct store *s, bool *more, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int before = sqlite3_total_changes(c->db);
    int n = sqlite_conn_run(
        c, e, "INSERT INTO job_search (job_search, rank) VALUES ('merge', ?)", "i",
        *more ? TIDY_PAGES : -TIDY_PAGES);
    *more = n >= 0 && sqlite3_total_changes(c->db) - before >= 2;
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int sqlite_scrub(struct store *s, struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_prepare(c, "PRAGMA wal_checkpoint(TRUNCATE)", &stmt, e);
    if (!status) {
        if (sqlite3_step(stmt) != SQLITE_ROW)
            status = sqlite_conn_error(c, e);
        else if (sqlite3_column_int(stmt, 0))
            status = err_set(e, ERR_TIMEOUT, "the database's journal is in use");
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

const struct store_native_ops sqlite_native_ops = {
    .insert_once = sqlite_insert_once,
    .log_extent = sqlite_log_extent,
    .log_read = sqlite_log_read,
    .log_trim = sqlite_log_trim,
    .shed = sqlite_shed,
    .erase = sqlite_erase,
    .tidy = sqlite_tidy,
    .scrub = sqlite_scrub,
};
