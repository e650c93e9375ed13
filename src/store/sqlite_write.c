/* What the store changes, in SQL: every change is one statement or one transaction. */
#include "base/fs.h"
#include "base/mem.h"
#include "store/vitals.h"
#include "store/audit.h"
#include "store/care.h"
#include "store/holds.h"
#include "store/keys.h"
#include "store/queue_view.h"
#include "store/sqlite_clock.h"
#include "store/sqlite_listen.h"
#include "store/sqlite_native.h"
#include "store/sqlite_read.h"
#include "store/sqlite_share.h"

#include <unistd.h>

/* Less is not enough for a few transcripts. */
#define MIN_FREE_BYTES (4u << 20)

#define WRITER(s)      sqlite_store_writer((struct sqlite_store *)(s))

/* The fence: only the attempt that holds the job may write. */
#define FENCED " WHERE id = ? AND attempt = ? AND status = 'processing'"

static void sqlite_store_close(struct store *base)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    sqlite_listen(base, NULL, NULL);
    sqlite_clock_close(s);
    for (size_t i = 0; i < ARRAY_LENGTH(s->readers); i++)
        sqlite_conn_close(&s->readers[i]);
    sqlite_conn_close(&s->writer);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->path);
    free(s);
}

/* What a fenced statement did: one row, or nothing because the fence held. */
static int fenced(int changed, const char *id, struct err *e)
{
    if (changed < 0)
        return changed;
    if (changed == 0)
        return err_set(e, ERR_STATE, "the job %.36s is no longer held by this attempt",
                       id);
    return 0;
}

int sqlite_insert_with(struct sqlite_conn *c, const struct job *j, const char *sha256,
                       struct err *e)
{
    int n = sqlite_conn_sound(c, e);
    if (!n)
        n = sqlite_quota_with(c, j->caller, j->created_ms, e);
    if (!n)
        n = sqlite_conn_run(c, e,
                            "INSERT INTO jobs (id, original_filename, filename, "
                            "file_bytes, sha256, model, language_asked, task, options, "
                            "message, created_ms, caller, priority, retain_days) "
                            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            "tttlttttttltii", j->id, j->original_filename, j->filename,
                            j->file_bytes, sha256, j->model, j->language_asked, j->task,
                            j->options, j->message ? j->message : "", j->created_ms,
                            j->caller ? j->caller : "", j->priority, j->retain_days);
    return n < 0 ? n : 0;
}

static int sqlite_insert(struct store *s, const struct job *j, const char *sha256,
                         struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status)
        status = sqlite_conn_end(c, sqlite_insert_with(c, j, sha256, e), e);
    sqlite_store_done(c);
    return status;
}

static int claim_id(struct sqlite_conn *c, const struct store_wish *wish,
                    const char *owner, int64_t now_ms, int64_t lease_ms, char id[ID_SIZE],
                    struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c,
        "UPDATE jobs SET status = 'processing', attempt = attempt + 1, owner = ?, "
        "lease_until_ms = ?, message = 'Starting', "
        "started_ms = CASE WHEN started_ms = 0 THEN MAX(?3, created_ms) "
        "ELSE started_ms END "
        "WHERE id = (SELECT id FROM jobs WHERE status = 'pending' AND run_after_ms <= ?3 "
        "            AND NOT EXISTS (SELECT 1 FROM job_sources WHERE job_id = jobs.id "
        "                            AND NOT fetched) "
        "            AND (?4 IS NULL OR (model = ?4 AND file_bytes <= ?5 AND attempt = "
        "0)) "
        "            AND (?4 IS NOT NULL OR ?6 IS NULL "
        "                 OR instr(',' || ?6 || ',', ',' || model || ',')) "
        "            ORDER BY " SQLITE_QUEUE_ORDER ", id LIMIT 1) RETURNING id",
        &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "tlltlt", owner, lease_ms, now_ms, wish ? wish->model : NULL,
                     wish ? wish->most_bytes : (int64_t)0, wish ? wish->models : NULL);
    id[0] = '\0';
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW)
        (void)sqlite_column_id(stmt, 0, id);
    if (step != SQLITE_DONE)
        status = sqlite_conn_error(c, e);
    else if (!id[0])
        status = err_set(e, ERR_NOT_FOUND, "no job is waiting");
    sqlite3_reset(stmt);
    return status;
}

static int sqlite_claim(struct store *s, const struct store_wish *wish, const char *owner,
                        int64_t now_ms, int64_t lease_ms, struct job *out, struct err *e)
{
    char id[ID_SIZE];
    struct sqlite_conn *c = WRITER(s);
    /* In one: a job that is claimed and cannot be read would wait for its lease. */
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        status = claim_id(c, wish, owner, now_ms, lease_ms, id, e);
        if (!status)
            status = sqlite_get_with(c, id, out, e);
        bool read = !status;
        status = sqlite_conn_end(c, status, e);
        if (status && read)
            job_release(out);
    }
    sqlite_store_done(c);
    return status;
}

static int sqlite_renew(struct store *s, const char *id, int attempt, int64_t lease_ms,
                        struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "UPDATE jobs SET lease_until_ms = ?" FENCED, "lti",
                            lease_ms, id, attempt);
    sqlite_store_done(c);
    return fenced(n, id, e);
}

static int sqlite_decoded(struct store *s, const char *id, int attempt, double seconds,
                          int progress, const char *message, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "UPDATE jobs SET duration_seconds = ?, "
                            "progress = MAX(progress, ?), message = ?" FENCED,
                            "ditti", seconds, progress, message, id, attempt);
    sqlite_store_done(c);
    return fenced(n, id, e);
}

static int add_windows(struct sqlite_conn *c, const char *id,
                       const struct store_checkpoint *cp, struct err *e)
{
    for (size_t i = 0; i < cp->n_windows; i++) {
        int n = sqlite_conn_run(c, e,
                                "INSERT INTO job_windows SELECT ?1, "
                                "COALESCE(MAX(position) + 1, 0), ?2 FROM job_windows "
                                "WHERE job_id = ?1",
                                "tt", id, cp->windows[i]);
        if (n < 0)
            return n;
    }
    return 0;
}

/* What was known of windows that lead no further than `frame`. */
static int drop_ahead(struct sqlite_conn *c, const char *id, int64_t frame, struct err *e)
{
    int n = sqlite_conn_run(c, e,
                            "DELETE FROM job_ahead WHERE job_id = ? AND until_frame <= ?",
                            "tl", id, frame);
    return n < 0 ? n : 0;
}

static int sqlite_checkpoint(struct store *s, const char *id, int attempt,
                             const struct store_checkpoint *cp, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        int n = sqlite_conn_run(c, e,
                                "UPDATE jobs SET next_frame = ?, "
                                "language = COALESCE(?, language), "
                                "language_probability = ?, "
                                "progress = MAX(progress, ?), message = ?" FENCED,
                                "ltditti", cp->next_frame, cp->language,
                                cp->language_probability, cp->progress, cp->message, id,
                                attempt);
        status = fenced(n, id, e);
        if (!status)
            status = add_windows(c, id, cp, e);
        if (!status)
            status = drop_ahead(c, id, cp->next_frame, e);
        status = sqlite_conn_end(c, status, e);
    }
    sqlite_store_done(c);
    return status;
}

static int sqlite_ahead(struct store *s, const char *id, int attempt, int64_t until_frame,
                        const char *heard, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(
        c, e, "INSERT OR REPLACE INTO job_ahead SELECT id, ?, ? FROM jobs" FENCED, "ltti",
        until_frame, heard, id, attempt);
    sqlite_store_done(c);
    return fenced(n, id, e);
}

static int drop_windows(struct sqlite_conn *c, const char *id, struct err *e)
{
    int n = sqlite_conn_run(c, e, "DELETE FROM job_windows WHERE job_id = ?", "t", id);
    return n < 0 ? n : drop_ahead(c, id, INT64_MAX, e);
}

static int sqlite_complete(struct store *s, const char *id, int attempt, int64_t now_ms,
                           const struct store_result *r, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (status)
        goto done;
    int n =
        sqlite_conn_run(c, e,
                        "UPDATE jobs SET status = 'completed', progress = 100, "
                        "message = 'Completed', language = COALESCE(?, language), "
                        "duration_seconds = ?, completed_ms = MAX(?, started_ms, "
                        "created_ms), owner = NULL, "
                        "error_code = NULL, error_message = NULL" FENCED,
                        "tdlti", r->language, r->duration_seconds, now_ms, id, attempt);
    status = fenced(n, id, e);
    if (!status) {
        n = sqlite_conn_run(c, e,
                            "INSERT OR REPLACE INTO transcripts (job_id, body, json, "
                            "quality) VALUES (?, ?, ?, ?)",
                            "tttt", id, r->transcript_text, r->transcript_json,
                            r->quality_json);
        status = n < 0 ? n : drop_windows(c, id, e);
    }
    status = sqlite_conn_end(c, status, e);
done:
    sqlite_store_done(c);
    return status;
}

static int fail_with(struct sqlite_conn *c, const char *id, int attempt, int64_t now_ms,
                     const char *code, const char *message, struct err *e)
{
    int n = sqlite_conn_run(c, e,
                            "UPDATE jobs SET status = 'failed', error_code = ?, "
                            "error_message = ?, message = 'Failed', "
                            "completed_ms = MAX(?, started_ms, created_ms), "
                            "owner = NULL" FENCED,
                            "ttlti", code, message, now_ms, id, attempt);
    return fenced(n, id, e);
}

static int sqlite_fail(struct store *s, const char *id, int attempt, int64_t now_ms,
                       const char *code, const char *message, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = fail_with(c, id, attempt, now_ms, code, message, e);
    sqlite_store_done(c);
    return status;
}

#define BACK_TO_PENDING                                                                  \
    "status = 'pending', owner = NULL, lease_until_ms = 0, message = 'Waiting'"

static int sqlite_requeue(struct store *s, const char *id, int attempt, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "UPDATE jobs SET " BACK_TO_PENDING FENCED, "ti", id,
                            attempt);
    sqlite_store_done(c);
    return fenced(n, id, e);
}

static int sqlite_put_off(struct store *s, const char *id, int attempt,
                          int64_t run_after_ms, const char *message, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "UPDATE jobs SET status = 'pending', owner = NULL, "
                            "lease_until_ms = 0, run_after_ms = ?, message = ?" FENCED,
                            "ltti", run_after_ms, message, id, attempt);
    sqlite_store_done(c);
    return fenced(n, id, e);
}

static int count_crash(struct sqlite_conn *c, const char *id, int attempt, int *crashes,
                       struct err *e)
{
    sqlite3_stmt *stmt;
    int status =
        sqlite_conn_prepare(c,
                            "UPDATE jobs SET crash_frame = next_frame, crashes = "
                            "CASE WHEN next_frame > crash_frame THEN 1 "
                            "ELSE crashes + 1 END" FENCED " RETURNING crashes",
                            &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "ti", id, attempt);
    int step, rows = 0;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        *crashes = sqlite3_column_int(stmt, 0);
        rows++;
    }
    if (step != SQLITE_DONE)
        rows = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return fenced(rows, id, e);
}

static int sqlite_crash(struct store *s, const char *id, int attempt,
                        const struct store_crash *crash, struct err *e)
{
    int crashes = 0;
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (status)
        goto done;
    status = count_crash(c, id, attempt, &crashes, e);
    if (!status && crashes >= crash->limit) {
        status = fail_with(c, id, attempt, crash->now_ms, crash->error_code,
                           crash->error_message, e);
    } else if (!status) {
        int n = sqlite_conn_run(
            c, e, "UPDATE jobs SET run_after_ms = ?, " BACK_TO_PENDING FENCED, "lti",
            crash->run_after_ms, id, attempt);
        status = fenced(n, id, e);
    }
    status = sqlite_conn_end(c, status, e);
done:
    sqlite_store_done(c);
    return status;
}

static int sqlite_requeue_expired(struct store *s, int64_t before_ms, int64_t *count,
                                  struct err *e)
{
    sqlite_clock_look((struct sqlite_store *)s);
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "UPDATE jobs SET " BACK_TO_PENDING
                            " WHERE status = 'processing' AND lease_until_ms < ?",
                            "l", before_ms);
    sqlite_store_done(c);
    if (n < 0)
        return n;
    *count = n;
    return 0;
}

/* A cancellation did nothing: say whether the job is missing or has ended. */
static int why_no_cancel(struct sqlite_conn *c, const char *id, struct err *e)
{
    struct job j;
    int status = sqlite_get_with(c, id, &j, e);
    if (status)
        return status;
    err_set(e, ERR_STATE, "the job is %s: there is nothing to cancel",
            job_status_name(j.status));
    job_release(&j);
    return ERR_STATE;
}

static int sqlite_cancel(struct store *s, const char *id, int64_t now_ms, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(
        c, e,
        "UPDATE jobs SET status = 'cancelled', message = 'Cancelled', "
        "completed_ms = MAX(?, started_ms, created_ms), owner = NULL WHERE id = ? "
        "AND status IN ('pending', 'processing')",
        "lt", now_ms, id);
    if (n == 0)
        n = why_no_cancel(c, id, e);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int why_no_retry(struct sqlite_conn *c, const char *id, struct err *e)
{
    struct job j;
    int status = sqlite_get_with(c, id, &j, e);
    if (status)
        return status;
    if (j.status == JOB_FAILED || j.status == JOB_CANCELLED)
        err_set(e, ERR_STATE,
                "the recording of this job has been removed: send it again");
    else
        err_set(e, ERR_STATE,
                "the job is %s: only a failed or cancelled one can be tried again",
                job_status_name(j.status));
    job_release(&j);
    return ERR_STATE;
}

static int sqlite_retry(struct store *s, const char *id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "UPDATE jobs SET " BACK_TO_PENDING
                            ", run_after_ms = 0, crashes = 0, crash_frame = -1, "
                            "error_code = NULL, error_message = NULL, completed_ms = 0, "
                            "started_ms = 0 WHERE id = ? AND audio_present "
                            "AND status IN ('failed', 'cancelled')",
                            "t", id);
    if (n == 0)
        n = why_no_retry(c, id, e);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int sqlite_remove(struct store *s, const char *id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "DELETE FROM jobs WHERE id = ?", "t", id);
    sqlite_store_done(c);
    if (n == 0)
        return sqlite_no_such_job(e, id);
    return n < 0 ? n : 0;
}

static int sqlite_drop_audio(struct store *s, const char *id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n =
        sqlite_conn_run(c, e, "UPDATE jobs SET audio_present = 0 WHERE id = ?", "t", id);
    sqlite_store_done(c);
    if (n == 0)
        return sqlite_no_such_job(e, id);
    return n < 0 ? n : 0;
}

/* Takes the write lock and dirties a page, then lets go of both: a file that has become
 * read-only or damaged shows, and nothing is synced. */
static int try_to_write(struct sqlite_conn *c, struct err *e)
{
    int status = sqlite_conn_begin(c, e);
    if (status)
        return status;
    int n = sqlite_conn_run(c, e,
                            "UPDATE schema_version SET applied_ms = applied_ms "
                            "WHERE version = 1",
                            "");
    if (n <= 0)
        status = n < 0 ? n
                       : err_set(e, ERR_CORRUPT,
                                 "the database %s lost its schema: "
                                 "restore it from a backup",
                                 c->path);
    (void)sqlite_conn_end(c, status ? status : ERR_CANCELLED, NULL);
    return status;
}

static int sqlite_room(struct store *s, struct err *e)
{
    const char *path = ((struct sqlite_store *)s)->writer.path;
    uint64_t free_bytes = 0;
    int status = fs_free_bytes(path, &free_bytes, e);
    if (!status && free_bytes < MIN_FREE_BYTES)
        status =
            err_set(e, ERR_FULL,
                    "the disk that holds the database %s is full: free some space", path);
    return status;
}

static int sqlite_probe(struct store *s, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_sound(c, e);
    if (!status)
        status = try_to_write(c, e);
    sqlite_store_done(c);
    return status ? status : sqlite_room(s, e);
}

const struct store_ops sqlite_store_ops = {
    .close = sqlite_store_close,
    .listen = sqlite_listen,
    .insert = sqlite_insert,
    .get = sqlite_read_get,
    .list = sqlite_read_list,
    .transcript = sqlite_read_transcript,
    .claim = sqlite_claim,
    .renew = sqlite_renew,
    .decoded = sqlite_decoded,
    .checkpoint = sqlite_checkpoint,
    .ahead = sqlite_ahead,
    .resume = sqlite_read_resume,
    .complete = sqlite_complete,
    .fail_job = sqlite_fail,
    .requeue = sqlite_requeue,
    .put_off = sqlite_put_off,
    .crash = sqlite_crash,
    .requeue_expired = sqlite_requeue_expired,
    .cancel = sqlite_cancel,
    .retry = sqlite_retry,
    .remove = sqlite_remove,
    .aged = sqlite_read_aged,
    .drop_audio = sqlite_drop_audio,
    .probe = sqlite_probe,
    .room = sqlite_room,
    .keys = &sqlite_keys_ops,
    .audit = &sqlite_audit_ops,
    .native = &sqlite_native_ops,
    .share = &sqlite_share_ops,
    .settings = &sqlite_settings_ops,
    .waveform = &sqlite_waveform_ops,
    .uploads = &sqlite_uploads_ops,
    .sources = &sqlite_sources_ops,
    .webhooks = &sqlite_webhooks_ops,
    .waiting = &sqlite_waiting_ops,
    .queue = &sqlite_queue_ops,
    .workers = &sqlite_workers_ops,
    .holds = &sqlite_holds_ops,
    .care = &sqlite_care_ops,
    .vitals = &sqlite_vitals_ops,
};
