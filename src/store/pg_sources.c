/* Recordings that are still to be fetched, in PostgreSQL: see sources.h. */
#include "store/sources.h"

#include "store/pg_jobs.h"

/* The fence: this attempt, … */
#define OURS " WHERE job_id = $1 AND attempts = $2 AND NOT fetched"

static int gone(const struct store_source *src, struct err *e)
{
    return err_set(e, ERR_STATE, "the job %s no longer waits for a download",
                   src->job_id);
}

/* … and a job that still waits for it: its row is held, so that nobody cancels it in
 * between. Whoever changes both takes the job first. */
static int hold_job(struct pg_conn *c, const struct store_source *src, struct err *e)
{
    int n = pg_run(c, e,
                   "SELECT 1 FROM jobs WHERE id = $1 AND status = 'pending' "
                   "FOR NO KEY UPDATE",
                   "t", src->job_id);
    return n < 0 ? n : n ? 0 : gone(src, e);
}

static int ours(int changed, const struct store_source *src, struct err *e)
{
    return changed < 0 ? changed : changed ? 0 : gone(src, e);
}

static int sources_put(struct store *s, const char *job_id, const char *url,
                       struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e, "INSERT INTO job_sources (job_id, url) VALUES ($1, $2)",
                       "tt", job_id, url);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int sources_drop(struct store *s, const char *job_id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "DELETE FROM job_sources WHERE job_id = $1 AND NOT EXISTS "
                       "(SELECT 1 FROM jobs WHERE id = job_id)",
                       "t", job_id);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int read_source(const PGresult *r, struct store_source *out, struct err *e)
{
    bool failed = false;
    if (!PQntuples(r))
        return err_set(e, ERR_NOT_FOUND, "no download is due");
    if (!id_valid(pg_text(r, 0, 0)))
        return err_set(e, ERR_CORRUPT, "a download cannot be read from the database");
    *out = (struct store_source){
        .url = pg_copy(r, 0, 1, &failed),
        .validator = pg_copy(r, 0, 2, &failed),
        .received = pg_int(r, 0, 3),
        .attempts = (int)pg_int(r, 0, 4),
        .state = pg_copy(r, 0, 5, &failed),
    };
    pg_copy_to(r, 0, 0, out->job_id, sizeof out->job_id);
    if (!failed)
        return 0;
    store_source_release(out);
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int sources_claim(struct store *s, int64_t now_ms, int64_t lease_ms,
                         struct store_source *out, struct err *e)
{
    int status, instance = ((struct pg_store *)s)->pool.instance;
    struct store_source found = {0};
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        store_source_release(&found);
        status = pg_ask(
            t.conn, &r, e,
            "UPDATE job_sources SET attempts = attempts + 1, next_ms = $1, "
            "taken = state, state = '', claimed = true, holder = $3 WHERE job_id = "
            "(SELECT job_id FROM job_sources "
            "WHERE NOT fetched AND next_ms <= $2 AND EXISTS (SELECT 1 FROM jobs "
            "WHERE id = job_id AND status = 'pending') ORDER BY next_ms, job_id LIMIT 1 "
            "FOR UPDATE OF job_sources SKIP LOCKED) "
            "RETURNING job_id, url, validator, received, attempts, taken",
            "lli", lease_ms, now_ms, instance);
        if (!status)
            status = read_source(r, &found, e);
        PQclear(r);
    }
    if (status)
        store_source_release(&found);
    else
        *out = found;
    return status;
}

static int tell(struct pg_conn *c, const char *job_id, const char *message, struct err *e)
{
    int n =
        pg_run(c, e, "UPDATE jobs SET message = $1 WHERE id = $2 AND status = 'pending'",
               "tt", message, job_id);
    return n < 0 ? n : 0;
}

static int sources_renew(struct store *s, const struct store_source *src,
                         int64_t lease_ms, const char *message, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        status = hold_job(t.conn, src, e);
        if (!status)
            status = ours(pg_run(t.conn, e, "UPDATE job_sources SET next_ms = $3" OURS,
                                 "til", src->job_id, src->attempts, lease_ms),
                          src, e);
        if (!status)
            status = tell(t.conn, src->job_id, message, e);
    }
    return status;
}

static int sources_pause(struct store *s, const struct store_source *src, bool counts,
                         int64_t next_ms, const char *message, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        status = hold_job(t.conn, src, e);
        if (!status)
            status = ours(pg_run(t.conn, e,
                                 "UPDATE job_sources SET next_ms = $3, claimed = false, "
                                 "received = $4, validator = $5, state = $6, "
                                 "attempts = attempts - $7" OURS,
                                 "tilltti", src->job_id, src->attempts, next_ms,
                                 src->received, src->validator ? src->validator : "",
                                 src->state ? src->state : "", (int)!counts),
                          src, e);
        if (!status)
            status = tell(t.conn, src->job_id, message, e);
    }
    return status;
}

static int judge(struct pg_conn *c, const struct store_source *src, int64_t now_ms,
                 struct err *e)
{
    PGresult *r;
    int status =
        pg_ask(c, &r, e, "SELECT caller FROM jobs WHERE id = $1", "t", src->job_id);
    if (!status && PQntuples(r))
        status = pg_quota_with(c, pg_text(r, 0, 0), now_ms, false, e);
    PQclear(r);
    return status;
}

static int sources_done(struct store *s, const struct store_source *src, int64_t bytes,
                        const char *sha256, int64_t now_ms, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        status = hold_job(t.conn, src, e);
        if (!status)
            status = judge(t.conn, src, now_ms, e);
        if (!status)
            status = ours(pg_run(t.conn, e,
                                 "UPDATE job_sources SET fetched = true, "
                                 "claimed = false, url = '', validator = ''" OURS,
                                 "ti", src->job_id, src->attempts),
                          src, e);
        if (status)
            continue;
        int n = pg_run(t.conn, e,
                       "UPDATE jobs SET file_bytes = $1, sha256 = $2, "
                       "message = 'Waiting' WHERE id = $3",
                       "ltt", bytes, sha256, src->job_id);
        status = n < 0 ? n : 0;
    }
    return status;
}

#define FROM_THE_BEGINNING                                                               \
    "UPDATE job_sources SET attempts = 0, received = 0, validator = '', next_ms = 0, "   \
    "state = '', claimed = false" OURS

static int sources_fail(struct store *s, const struct store_source *src, int64_t now_ms,
                        const char *code, const char *message, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        status = hold_job(t.conn, src, e);
        if (!status)
            status = ours(
                pg_run(t.conn, e, FROM_THE_BEGINNING, "ti", src->job_id, src->attempts),
                src, e);
        if (status)
            continue;
        int n = pg_run(t.conn, e,
                       "UPDATE jobs SET status = 'failed', error_code = $1, "
                       "error_message = $2, message = 'Failed', completed_ms = "
                       "greatest($3, created_ms) "
                       "WHERE id = $4",
                       "ttlt", code, message, now_ms, src->job_id);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int sources_reset(struct store *s, const struct store_source *src, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e, FROM_THE_BEGINNING, "ti", src->job_id, src->attempts);
        status = n < 0 ? n : 0;
    }
    return status;
}

/* What other processes that run hold is theirs; and a row whose job is not there yet may
 * belong to a request that is about to write it. */
static int sources_recover(struct store *s, struct err *e)
{
    int status, instance = ((struct pg_store *)s)->pool.instance;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE job_sources SET next_ms = 0, claimed = false, "
                       "attempts = GREATEST(attempts - 1, 0) WHERE claimed "
                       "AND (holder = $1 OR (" PG_SETTLED " AND holder NOT IN " PG_RUNNING
                       "))",
                       "i", instance);
        if (n >= 0)
            n = pg_run(t.conn, e,
                       "DELETE FROM job_sources WHERE made < now() - interval '1 hour' "
                       "AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = job_id)",
                       "");
        status = n < 0 ? n : 0;
    }
    return status;
}

const struct store_sources_ops pg_sources_ops = {
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
