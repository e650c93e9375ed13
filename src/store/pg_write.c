/* What becomes of a job, in PostgreSQL's SQL. Every change is one transaction; the claim
 * takes a row that nobody else is about to take. */
#include "base/clock.h"
#include "store/pg_clock.h"
#include "store/pg_jobs.h"
#include "store/pg_search.h"

/* The fence: only the attempt that holds the job may write. */
#define FENCED(id, attempt)                                                              \
    " WHERE id = " id " AND attempt = " attempt " AND status = 'processing'"

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

int pg_insert_with(struct pg_store *s, struct pg_conn *c, const struct job *j,
                   const char *sha256, struct err *e)
{
    int n = pg_quota_with(c, j->caller, j->created_ms, true, e);
    if (n)
        return n;
    n = pg_run(c, e,
               "INSERT INTO jobs (id, original_filename, filename, file_bytes, "
               "sha256, model, language_asked, task, options, message, created_ms, "
               "caller, priority, retain_days) VALUES ($1, $2, $3, $4, $5, $6, $7, "
               "$8, $9, $10, $11, $12, $13, $14)",
               "tttlttttttltii", j->id, j->original_filename, j->filename, j->file_bytes,
               sha256, j->model, j->language_asked, j->task, j->options,
               j->message ? j->message : "", j->created_ms, j->caller ? j->caller : "",
               j->priority, j->retain_days);
    if (n < 0)
        return n;
    /* What is to leave nothing behind never is among what is searched. */
    return j->retain_days < 0 ? 0 : pg_index_name(s, c, j->id, j->original_filename, e);
}

int pg_insert(struct store *s, const struct job *j, const char *sha256, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = pg_insert_with((struct pg_store *)s, t.conn, j, sha256, e);
    return status;
}

/* ---- claims ---------------------------------------------------------------------- */

#define CLAIM(wish)                                                                      \
    "UPDATE jobs SET status = 'processing', attempt = attempt + 1, owner = $1, "         \
    "holder = $4, lease_until_ms = $2, message = 'Starting', "                           \
    "started_ms = CASE WHEN started_ms = 0 THEN greatest($3, created_ms) "               \
    "ELSE started_ms END "                                                               \
    "WHERE id = (SELECT id FROM jobs WHERE status = 'pending' AND run_after_ms <= $3 "   \
    "AND NOT EXISTS (SELECT 1 FROM job_sources WHERE job_id = jobs.id "                  \
    "AND NOT fetched)" wish " ORDER BY " PG_QUEUE_ORDER                                  \
    ", id LIMIT 1 FOR NO KEY UPDATE OF jobs SKIP LOCKED) RETURNING id"

static int claim_id(struct pg_store *s, struct pg_conn *c, const struct store_wish *wish,
                    const char *owner, int64_t now_ms, int64_t lease_ms, char id[ID_SIZE],
                    struct err *e)
{
    PGresult *r;
    int status;
    if (wish && wish->model)
        status = pg_ask(c, &r, e,
                        CLAIM(" AND model = $5 AND file_bytes <= $6 AND attempt = 0"),
                        "tllitl", owner, lease_ms, now_ms, s->pool.instance, wish->model,
                        wish->most_bytes);
    else if (wish && wish->models)
        status = pg_ask(c, &r, e, CLAIM(" AND model = ANY (string_to_array($5, ','))"),
                        "tllit", owner, lease_ms, now_ms, s->pool.instance, wish->models);
    else
        status = pg_ask(c, &r, e, CLAIM(""), "tlli", owner, lease_ms, now_ms,
                        s->pool.instance);
    if (!status && (!PQntuples(r) || !id_valid(pg_text(r, 0, 0))))
        status = err_set(e, ERR_NOT_FOUND, "no job is waiting");
    if (!status)
        pg_copy_to(r, 0, 0, id, ID_SIZE);
    PQclear(r);
    return status;
}

int pg_claim(struct store *s, const struct store_wish *wish, const char *owner,
             int64_t now_ms, int64_t lease_ms, struct job *out, struct err *e)
{
    int status;
    char id[ID_SIZE];
    struct job found = {0};
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        job_release(&found);
        status =
            claim_id((struct pg_store *)s, t.conn, wish, owner, now_ms, lease_ms, id, e);
        if (!status)
            status = pg_get_with(t.conn, id, &found, e);
    }
    if (status)
        job_release(&found);
    else
        *out = found;
    return status;
}

int pg_renew(struct store *s, const char *id, int attempt, int64_t lease_ms,
             struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = fenced(pg_run(t.conn, e,
                               "UPDATE jobs SET lease_until_ms = $1" FENCED("$2", "$3"),
                               "lti", lease_ms, id, attempt),
                        id, e);
    return status;
}

int pg_decoded(struct store *s, const char *id, int attempt, double seconds, int progress,
               const char *message, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = fenced(
            pg_run(t.conn, e,
                   "UPDATE jobs SET duration_seconds = $1, "
                   "progress = GREATEST(progress, $2), message = $3" FENCED("$4", "$5"),
                   "ditti", seconds, progress, message, id, attempt),
            id, e);
    return status;
}

/* ---- checkpoints ----------------------------------------------------------------- */

/* Whether it is there already: one whose commit nobody could tell of is written again.
 * Then the job stands where it leads to, and its windows are the last ones. Locks the
 * row. */
static int is_written(struct pg_conn *c, const char *id, int attempt,
                      const struct store_checkpoint *cp, bool *out, struct err *e)
{
    PGresult *r;
    *out = false;
    int status = pg_ask(
        c, &r, e, "SELECT next_frame FROM jobs" FENCED("$1", "$2") " FOR NO KEY UPDATE",
        "ti", id, attempt);
    if (!status)
        status = fenced(PQntuples(r), id, e);
    bool there = !status && pg_int(r, 0, 0) == cp->next_frame && cp->n_windows;
    PQclear(r);
    if (!there)
        return status;
    status = pg_ask(c, &r, e,
                    "SELECT segments FROM job_windows WHERE job_id = $1 "
                    "ORDER BY position DESC LIMIT $2",
                    "tl", id, (int64_t)cp->n_windows);
    *out = !status && (size_t)PQntuples(r) == cp->n_windows;
    for (size_t i = 0; *out && i < cp->n_windows; i++)
        *out = !strcmp(pg_text(r, (int)i, 0), cp->windows[cp->n_windows - 1 - i]);
    PQclear(r);
    return status;
}

static int add_windows(struct pg_conn *c, const char *id,
                       const struct store_checkpoint *cp, struct err *e)
{
    for (size_t i = 0; i < cp->n_windows; i++) {
        int n = pg_run(c, e,
                       "INSERT INTO job_windows SELECT $1, "
                       "COALESCE(MAX(position) + 1, 0), $2 FROM job_windows "
                       "WHERE job_id = $1",
                       "tt", id, cp->windows[i]);
        if (n < 0)
            return n;
    }
    return 0;
}

static int checkpoint_with(struct pg_conn *c, const char *id, int attempt,
                           const struct store_checkpoint *cp, struct err *e)
{
    bool written;
    int status = is_written(c, id, attempt, cp, &written, e);
    if (status)
        return status;
    int n = pg_run(c, e,
                   "UPDATE jobs SET next_frame = $1, language = COALESCE($2, language), "
                   "language_probability = $3, progress = GREATEST(progress, $4), "
                   "message = $5" FENCED("$6", "$7"),
                   "ltditti", cp->next_frame, cp->language, cp->language_probability,
                   cp->progress, cp->message, id, attempt);
    status = fenced(n, id, e);
    if (!status && !written)
        status = add_windows(c, id, cp, e);
    if (status)
        return status;
    n = pg_run(c, e, "DELETE FROM job_ahead WHERE job_id = $1 AND until_frame <= $2",
               "tl", id, cp->next_frame);
    return n < 0 ? n : 0;
}

int pg_checkpoint(struct store *s, const char *id, int attempt,
                  const struct store_checkpoint *cp, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = checkpoint_with(t.conn, id, attempt, cp, e);
    return status;
}

int pg_ahead(struct store *s, const char *id, int attempt, int64_t until_frame,
             const char *heard, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(
            t.conn, e,
            "INSERT INTO job_ahead SELECT id, $1, $2 FROM jobs" FENCED(
                "$3", "$4") " ON CONFLICT (job_id, until_frame) DO UPDATE SET heard = "
                            "excluded.heard",
            "ltti", until_frame, heard, id, attempt);
        status = fenced(n, id, e);
    }
    return status;
}

/* ---- ends ------------------------------------------------------------------------ */

static int put_transcript(struct pg_store *s, struct pg_conn *c, const char *id,
                          const struct store_result *r, bool searched, struct err *e)
{
    int n = pg_run(c, e,
                   "INSERT INTO transcripts (job_id, body, json, quality) "
                   "VALUES ($1, $2, $3, $4) ON CONFLICT (job_id) DO UPDATE SET "
                   "body = excluded.body, json = excluded.json, "
                   "quality = excluded.quality",
                   "tttt", id, r->transcript_text, r->transcript_json, r->quality_json);
    if (n >= 0)
        n = pg_run(c, e, "DELETE FROM job_windows WHERE job_id = $1", "t", id);
    if (n >= 0)
        n = pg_run(c, e, "DELETE FROM job_ahead WHERE job_id = $1", "t", id);
    if (n < 0)
        return n;
    return searched ? pg_index_body(s, c, id, r->transcript_text, e) : 0;
}

static int complete_with(struct pg_store *s, struct pg_conn *c, const char *id,
                         int attempt, int64_t now_ms, const struct store_result *result,
                         struct err *e)
{
    PGresult *r;
    int status =
        pg_ask(c, &r, e,
               "UPDATE jobs SET status = 'completed', progress = 100, "
               "message = 'Completed', language = COALESCE($1, language), "
               "duration_seconds = $2, completed_ms = greatest($3, started_ms, "
               "created_ms), owner = NULL, "
               "error_code = NULL, error_message = NULL" FENCED(
                   "$4", "$5") " RETURNING retain_days",
               "tdlti", result->language, result->duration_seconds, now_ms, id, attempt);
    if (!status)
        status = fenced(PQntuples(r), id, e);
    bool searched = !status && pg_int(r, 0, 0) >= 0;
    PQclear(r);
    return status ? status : put_transcript(s, c, id, result, searched, e);
}

int pg_complete(struct store *s, const char *id, int attempt, int64_t now_ms,
                const struct store_result *r, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = complete_with((struct pg_store *)s, t.conn, id, attempt, now_ms, r, e);
    return status;
}

static int fail_with(struct pg_conn *c, const char *id, int attempt, int64_t now_ms,
                     const char *code, const char *message, struct err *e)
{
    int n = pg_run(c, e,
                   "UPDATE jobs SET status = 'failed', error_code = $1, "
                   "error_message = $2, message = 'Failed', "
                   "completed_ms = greatest($3, started_ms, created_ms), "
                   "owner = NULL" FENCED("$4", "$5"),
                   "ttlti", code, message, now_ms, id, attempt);
    return fenced(n, id, e);
}

int pg_fail(struct store *s, const char *id, int attempt, int64_t now_ms,
            const char *code, const char *message, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = fail_with(t.conn, id, attempt, now_ms, code, message, e);
    return status;
}

#define BACK_TO_PENDING                                                                  \
    "status = 'pending', owner = NULL, lease_until_ms = 0, message = 'Waiting'"

int pg_requeue(struct store *s, const char *id, int attempt, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = fenced(pg_run(t.conn, e,
                               "UPDATE jobs SET " BACK_TO_PENDING FENCED("$1", "$2"),
                               "ti", id, attempt),
                        id, e);
    return status;
}

int pg_put_off(struct store *s, const char *id, int attempt, int64_t run_after_ms,
               const char *message, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status =
            fenced(pg_run(t.conn, e,
                          "UPDATE jobs SET status = 'pending', owner = NULL, "
                          "lease_until_ms = 0, run_after_ms = $1, message = $2" FENCED(
                              "$3", "$4"),
                          "ltti", run_after_ms, message, id, attempt),
                   id, e);
    return status;
}

static int crash_with(struct pg_conn *c, const char *id, int attempt,
                      const struct store_crash *crash, struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e,
                        "UPDATE jobs SET crash_frame = next_frame, crashes = "
                        "CASE WHEN next_frame > crash_frame THEN 1 "
                        "ELSE crashes + 1 END" FENCED("$1", "$2") " RETURNING crashes",
                        "ti", id, attempt);
    if (!status)
        status = fenced(PQntuples(r), id, e);
    bool enough = !status && pg_int(r, 0, 0) >= crash->limit;
    PQclear(r);
    if (status)
        return status;
    if (enough)
        return fail_with(c, id, attempt, crash->now_ms, crash->error_code,
                         crash->error_message, e);
    return fenced(
        pg_run(c, e,
               "UPDATE jobs SET run_after_ms = $1, " BACK_TO_PENDING FENCED("$2", "$3"),
               "lti", crash->run_after_ms, id, attempt),
        id, e);
}

int pg_crash(struct store *s, const char *id, int attempt,
             const struct store_crash *crash, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = crash_with(t.conn, id, attempt, crash, e);
    return status;
}

/* When a process begins, whoever had its number before is dead, as are those that hold no
 * lock any more; but others may be at work. */
static int requeue_with(struct pg_store *s, struct pg_conn *c, int64_t before_ms,
                        struct err *e)
{
    if (before_ms == INT64_MAX)
        return pg_run(c, e,
                      "UPDATE jobs SET " BACK_TO_PENDING
                      " WHERE status = 'processing' AND (holder = $1 OR "
                      "(" PG_SETTLED " AND holder NOT IN " PG_RUNNING "))",
                      "i", s->pool.instance);
    int status = pg_clock_look(s, c, e);
    return status ? status
                  : pg_run(c, e,
                           "UPDATE jobs SET " BACK_TO_PENDING
                           " WHERE status = 'processing' AND lease_until_ms < $1",
                           "l", before_ms);
}

/* Every process asks so all the time, and hardly ever is there one: a look costs the
 * server no write. */
static int any_lapsed(struct store *s, int64_t before_ms, bool *any, struct err *e)
{
    int status;
    struct pg_store *p = (struct pg_store *)s;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        int64_t asked_ms = clock_boot_ms();
        status = pg_ask(
            t.conn, &r, e,
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, EXISTS "
            "(SELECT 1 FROM jobs WHERE status = 'processing' AND lease_until_ms < "
            "$1)",
            "l", before_ms);
        if (!status) {
            pg_clock_note(p, asked_ms, pg_int(r, 0, 0));
            *any = pg_bool(r, 0, 1);
        }
        PQclear(r);
    }
    return status;
}

int pg_requeue_expired(struct store *s, int64_t before_ms, int64_t *count, struct err *e)
{
    bool any = true;
    *count = 0;
    int status = before_ms == INT64_MAX ? 0 : any_lapsed(s, before_ms, &any, e);
    if (status || !any)
        return status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = requeue_with((struct pg_store *)s, t.conn, before_ms, e);
        *count = n > 0 ? n : 0;
        status = n < 0 ? n : 0;
    }
    return status;
}
