/* What callers and the retention do to a job, in PostgreSQL's SQL. */
#include "store/pg_jobs.h"

#define BACK_TO_PENDING                                                                  \
    "status = 'pending', owner = NULL, lease_until_ms = 0, message = 'Waiting'"

/* A cancellation did nothing: say whether the job is missing or has ended. */
static int why_no_cancel(struct pg_conn *c, const char *id, struct err *e)
{
    struct job j;
    int status = pg_get_with(c, id, &j, e);
    if (status)
        return status;
    err_set(e, ERR_STATE, "the job is %s: there is nothing to cancel",
            job_status_name(j.status));
    job_release(&j);
    return ERR_STATE;
}

int pg_cancel(struct store *s, const char *id, int64_t now_ms, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE jobs SET status = 'cancelled', message = 'Cancelled', "
                       "completed_ms = greatest($1, started_ms, created_ms), owner = "
                       "NULL WHERE id = $2 "
                       "AND status IN ('pending', 'processing')",
                       "lt", now_ms, id);
        status = n < 0 ? n : n == 0 ? why_no_cancel(t.conn, id, e) : 0;
    }
    return status;
}

static int why_no_retry(struct pg_conn *c, const char *id, struct err *e)
{
    struct job j;
    int status = pg_get_with(c, id, &j, e);
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

int pg_retry(struct store *s, const char *id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE jobs SET " BACK_TO_PENDING
                       ", run_after_ms = 0, crashes = 0, crash_frame = -1, "
                       "error_code = NULL, error_message = NULL, completed_ms = 0, "
                       "started_ms = 0 WHERE id = $1 AND audio_present "
                       "AND status IN ('failed', 'cancelled')",
                       "t", id);
        status = n < 0 ? n : n == 0 ? why_no_retry(t.conn, id, e) : 0;
    }
    return status;
}

/* Several statements that name one job, as one transaction. The first must find it. */
static int run_all(struct store *s, const char *const *statements, const char *id,
                   struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        for (size_t i = 0; !status && statements[i]; i++) {
            int n = pg_run(t.conn, e, statements[i], "t", id);
            status = n < 0 ? n : n == 0 && i == 0 ? pg_no_such_job(e, id) : 0;
        }
    }
    return status;
}

int pg_remove(struct store *s, const char *id, struct err *e)
{
    static const char *const statements[] = {"DELETE FROM jobs WHERE id = $1", NULL};
    return run_all(s, statements, id, e);
}

int pg_drop_audio(struct store *s, const char *id, struct err *e)
{
    static const char *const statements[] = {
        "UPDATE jobs SET audio_present = false WHERE id = $1", NULL};
    return run_all(s, statements, id, e);
}

int pg_shed(struct store *s, const char *id, struct err *e)
{
    static const char *const statements[] = {
        "UPDATE jobs SET audio_present = false WHERE id = $1",
        "DELETE FROM job_windows WHERE job_id = $1", NULL};
    return run_all(s, statements, id, e);
}

int pg_erase(struct store *s, const char *id, struct err *e)
{
    static const char *const statements[] = {
        "UPDATE jobs SET erased = true, audio_present = false, "
        "original_filename = 'recording', options = '{}', sha256 = '', language = NULL "
        "WHERE id = $1",
        "DELETE FROM transcripts WHERE job_id = $1",
        "DELETE FROM job_words WHERE job_id = $1",
        "DELETE FROM job_windows WHERE job_id = $1",
        "DELETE FROM request_keys WHERE job_id = $1",
        "DELETE FROM job_sources WHERE job_id = $1",
        "UPDATE uploads SET metadata = '' WHERE id = $1",
        /* Whom to tell stays until they were told; then it goes with the row. */
        "DELETE FROM job_webhooks WHERE job_id = $1 AND NOT EXISTS (SELECT 1 "
        "FROM webhook_outbox WHERE job_id = $1 AND state = 'waiting')",
        NULL};
    return run_all(s, statements, id, e);
}

/* Writes a row and takes it back: a server that takes no writes, or whose disk is full,
 * shows. */
int pg_probe(struct store *s, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    bool reached = false;
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE schema_version SET applied_ms = applied_ms "
                       "WHERE version = 1",
                       "");
        reached = n > 0;
        if (n == 0)
            n = err_set(e, ERR_CORRUPT, "%s lost its schema: restore it from a backup",
                        t.conn->place->name);
        status = n < 0 ? n : ERR_CANCELLED; /* undoes it */
    }
    return reached && status == ERR_CANCELLED ? 0 : status;
}
