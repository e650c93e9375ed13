#include "base/mem.h"
#include "store/sources.h"

#include "store/sqlite_native.h"
#include "store/sqlite_conn.h"
#include "store/sqlite_read.h"

#define WRITER(s) sqlite_store_writer((struct sqlite_store *)(s))

/* The fence: this attempt, and a job that still waits for it. */
#define OURS                                                                             \
    " WHERE job_id = ? AND attempts = ? AND NOT fetched AND EXISTS (SELECT 1 FROM jobs " \
    "WHERE id = job_id AND status = 'pending')"

void store_source_release(struct store_source *s)
{
    if (!s)
        return;
    free(s->url);
    free(s->validator);
    free(s->state);
    *s = (struct store_source){0};
}

static int ours(int changed, const struct store_source *src, struct err *e)
{
    if (changed < 0)
        return changed;
    return changed ? 0
                   : err_set(e, ERR_STATE, "the job %s no longer waits for a download",
                             src->job_id);
}

static int sources_put(struct store *s, const char *job_id, const char *url,
                       struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "INSERT INTO job_sources (job_id, url) VALUES (?, ?)",
                            "tt", job_id, url);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int sources_drop(struct store *s, const char *job_id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "DELETE FROM job_sources WHERE job_id = ? AND NOT EXISTS "
                            "(SELECT 1 FROM jobs WHERE id = job_id)",
                            "t", job_id);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int read_source(sqlite3_stmt *stmt, struct store_source *out)
{
    bool failed = false;
    char id[ID_SIZE];
    if (!sqlite_column_id(stmt, 0, id))
        return ERR_CORRUPT;
    *out = (struct store_source){
        .url = sqlite_column_text(stmt, 1, &failed),
        .validator = sqlite_column_text(stmt, 2, &failed),
        .received = sqlite3_column_int64(stmt, 3),
        .attempts = sqlite3_column_int(stmt, 4),
        .state = sqlite_column_text(stmt, 5, &failed),
    };
    memcpy(out->job_id, id, ID_SIZE);
    if (failed)
        store_source_release(out);
    return failed ? ERR_NOMEM : 0;
}

static int sources_claim(struct store *s, int64_t now_ms, int64_t lease_ms,
                         struct store_source *out, struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_prepare(
        c,
        "UPDATE job_sources SET attempts = attempts + 1, next_ms = ?, claimed = 1, "
        "taken = state, state = '' "
        "WHERE job_id = (SELECT job_id FROM job_sources WHERE NOT fetched "
        "  AND next_ms <= ? AND EXISTS (SELECT 1 FROM jobs WHERE id = job_id "
        "  AND status = 'pending') ORDER BY next_ms, job_id LIMIT 1) "
        "RETURNING job_id, url, validator, received, attempts, taken",
        &stmt, e);
    if (status)
        goto done;
    sqlite_conn_bind(stmt, "ll", lease_ms, now_ms);
    int step, rows = 0, read = 0;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW)
        if (!rows++)
            read = read_source(stmt, out);
    if (step != SQLITE_DONE)
        status = sqlite_conn_error(c, e);
    else if (!rows)
        status = err_set(e, ERR_NOT_FOUND, "no download is due");
    else if (read)
        status = err_set(e, read, "a download cannot be read from the database");
    if (status && rows && !read)
        store_source_release(out);
    sqlite3_reset(stmt);
done:
    sqlite_store_done(c);
    return status;
}

static int tell(struct sqlite_conn *c, const char *job_id, const char *message,
                struct err *e)
{
    int n = sqlite_conn_run(c, e,
                            "UPDATE jobs SET message = ? WHERE id = ? "
                            "AND status = 'pending'",
                            "tt", message, job_id);
    return n < 0 ? n : 0;
}

static int sources_renew(struct store *s, const struct store_source *src,
                         int64_t lease_ms, const char *message, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        int n = sqlite_conn_run(c, e, "UPDATE job_sources SET next_ms = ?" OURS, "lti",
                                lease_ms, src->job_id, src->attempts);
        status = ours(n, src, e);
        if (!status)
            status = tell(c, src->job_id, message, e);
        status = sqlite_conn_end(c, status, e);
    }
    sqlite_store_done(c);
    return status;
}

static int sources_pause(struct store *s, const struct store_source *src, bool counts,
                         int64_t next_ms, const char *message, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        int n = sqlite_conn_run(
            c, e,
            "UPDATE job_sources SET next_ms = ?, claimed = 0, "
            "received = ?, validator = ?, state = ?, attempts = attempts - ?" OURS,
            "llttiti", next_ms, src->received, src->validator ? src->validator : "",
            src->state ? src->state : "", (int)!counts, src->job_id, src->attempts);
        status = ours(n, src, e);
        if (!status)
            status = tell(c, src->job_id, message, e);
        status = sqlite_conn_end(c, status, e);
    }
    sqlite_store_done(c);
    return status;
}

static int sources_done(struct store *s, const struct store_source *src, int64_t bytes,
                        const char *sha256, int64_t now_ms, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        int n = sqlite_conn_run(c, e,
                                "UPDATE job_sources SET fetched = 1, claimed = 0, "
                                "url = '', validator = ''" OURS,
                                "ti", src->job_id, src->attempts);
        status = ours(n, src, e);
        if (!status)
            status = sqlite_quota_of_job(c, src->job_id, now_ms, e);
        if (!status) {
            n = sqlite_conn_run(c, e,
                                "UPDATE jobs SET file_bytes = ?, sha256 = ?, "
                                "message = 'Waiting' WHERE id = ?",
                                "ltt", bytes, sha256, src->job_id);
            status = n < 0 ? n : 0;
        }
        status = sqlite_conn_end(c, status, e);
    }
    sqlite_store_done(c);
    return status;
}

static int sources_fail(struct store *s, const struct store_source *src, int64_t now_ms,
                        const char *code, const char *message, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        int n = sqlite_conn_run(
            c, e,
            "UPDATE job_sources SET attempts = 0, received = 0, state = '', "
            "validator = '', next_ms = 0, claimed = 0" OURS,
            "ti", src->job_id, src->attempts);
        status = ours(n, src, e);
        if (!status) {
            n = sqlite_conn_run(c, e,
                                "UPDATE jobs SET status = 'failed', error_code = ?, "
                                "error_message = ?, message = 'Failed', "
                                "completed_ms = MAX(?, created_ms) WHERE id = ?",
                                "ttlt", code, message, now_ms, src->job_id);
            status = n < 0 ? n : 0;
        }
        status = sqlite_conn_end(c, status, e);
    }
    sqlite_store_done(c);
    return status;
}

static int sources_reset(struct store *s, const struct store_source *src, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n =
        sqlite_conn_run(c, e,
                        "UPDATE job_sources SET attempts = 0, received = 0, state = '', "
                        "validator = '', next_ms = 0, claimed = 0 "
                        "WHERE job_id = ? AND attempts = ? AND NOT fetched",
                        "ti", src->job_id, src->attempts);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int sources_recover(struct store *s, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "UPDATE job_sources SET next_ms = 0, claimed = 0, "
                            "attempts = MAX(attempts - 1, 0) WHERE claimed",
                            "");
    if (n >= 0)
        n = sqlite_conn_run(c, e,
                            "DELETE FROM job_sources WHERE NOT EXISTS "
                            "(SELECT 1 FROM jobs WHERE id = job_id)",
                            "");
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

const struct store_sources_ops sqlite_sources_ops = {
    .put = sources_put,
    .drop = sources_drop,
    .claim = sources_claim,
    .renew = sources_renew,
    .pause = sources_pause,
    .done = sources_done,
    .give_up = sources_fail,
    .reset = sources_reset,
    .recover = sources_recover,
};
