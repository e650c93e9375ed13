/* Whom to tell of a job's end, in PostgreSQL: see webhooks.h. The notices themselves are
 * written by triggers (pg_schema.c). */
#include "store/webhooks.h"

#include "store/pg_jobs.h"

static int webhooks_put(struct store *s, const char *job_id,
                        const struct store_webhook *hook, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "INSERT INTO job_webhooks (job_id, url, secret, with_transcript) "
                       "VALUES ($1, $2, $3, $4) ON CONFLICT (job_id) DO UPDATE SET "
                       "url = excluded.url, secret = excluded.secret, "
                       "with_transcript = excluded.with_transcript",
                       "tttb", job_id, hook->url, hook->secret ? hook->secret : "",
                       (int)hook->with_transcript);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int webhooks_drop(struct store *s, const char *job_id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "DELETE FROM job_webhooks WHERE job_id = $1 AND NOT EXISTS "
                       "(SELECT 1 FROM jobs WHERE id = job_id)",
                       "t", job_id);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int read_delivery(const PGresult *r, struct store_delivery *out, struct err *e)
{
    bool failed = false;
    if (!PQntuples(r))
        return err_set(e, ERR_NOT_FOUND, "no webhook is due");
    *out = (struct store_delivery){
        .id = pg_copy(r, 0, 0, &failed),
        .event = pg_copy(r, 0, 1, &failed),
        .url = pg_copy(r, 0, 3, &failed),
        .secret = pg_copy(r, 0, 4, &failed),
        .with_transcript = pg_bool(r, 0, 5),
        .attempts = (int)pg_int(r, 0, 6),
        .created_ms = pg_int(r, 0, 7),
    };
    pg_copy_to(r, 0, 2, out->job_id, sizeof out->job_id);
    if (!failed)
        return 0;
    store_delivery_release(out);
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int webhooks_claim(struct store *s, int64_t now_ms, int64_t lease_ms,
                          struct store_delivery *out, struct err *e)
{
    int status, instance = ((struct pg_store *)s)->pool.instance;
    struct store_delivery found = {0};
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        store_delivery_release(&found);
        status = pg_ask(
            t.conn, &r, e,
            "UPDATE webhook_outbox o SET attempts = attempts + 1, claimed = true, "
            "holder = $3, next_ms = $1 FROM job_webhooks w WHERE w.job_id = o.job_id "
            "AND o.id = (SELECT id FROM webhook_outbox WHERE state = 'waiting' "
            "AND next_ms <= $2 AND EXISTS (SELECT 1 FROM job_webhooks "
            "WHERE job_id = webhook_outbox.job_id) ORDER BY next_ms LIMIT 1 "
            "FOR UPDATE OF webhook_outbox SKIP LOCKED) "
            "RETURNING o.id, event, o.job_id, url, secret, with_transcript, attempts, "
            "created_ms",
            "lli", lease_ms, now_ms, instance);
        if (!status)
            status = read_delivery(r, &found, e);
        PQclear(r);
    }
    if (status)
        store_delivery_release(&found);
    else
        *out = found;
    return status;
}

static int webhooks_end(struct store *s, const struct store_delivery *d,
                        const struct store_delivery_end *how, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE webhook_outbox SET state = $1, claimed = false, "
                       "next_ms = $2, last_ms = $3, http_status = $4, error = $5 "
                       "WHERE id = $6 AND attempts = $7 AND state = 'waiting'",
                       "tllitti", how->state, how->next_ms, how->now_ms, how->http_status,
                       how->error, d->id, d->attempts);
        status = n < 0 ? n : n ? 0 : err_set(e, ERR_STATE, "the webhook was overtaken");
    }
    return status;
}

static int webhooks_next(struct store *s, int64_t *next_ms, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status =
            pg_ask(t.conn, &r, e,
                   "SELECT MIN(next_ms) FROM webhook_outbox WHERE state = 'waiting'", "");
        if (!status)
            *next_ms = PQgetisnull(r, 0, 0) ? INT64_MAX : pg_int(r, 0, 0);
        PQclear(r);
    }
    return status;
}

static int read_state(const PGresult *r, struct store_webhook_state *out, struct err *e)
{
    bool failed = false;
    if (!PQntuples(r))
        return err_set(e, ERR_NOT_FOUND, "the job has no webhook");
    *out = (struct store_webhook_state){
        .url = pg_copy(r, 0, 0, &failed),
        .state = pg_copy(r, 0, 1, &failed),
        .error = pg_copy(r, 0, 2, &failed),
        .attempts = (int)pg_int(r, 0, 3),
        .http_status = (int)pg_int(r, 0, 4),
        .last_ms = pg_int(r, 0, 5),
        .next_ms = pg_int(r, 0, 6),
    };
    if (!failed)
        return 0;
    store_webhook_state_release(out);
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int webhooks_state(struct store *s, const char *job_id,
                          struct store_webhook_state *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT url, COALESCE(state, 'none'), COALESCE(error, ''), "
                        "COALESCE(attempts, 0), COALESCE(http_status, 0), "
                        "COALESCE(last_ms, 0), COALESCE(next_ms, 0) FROM job_webhooks w "
                        "LEFT JOIN webhook_outbox o ON o.job_id = w.job_id "
                        "WHERE w.job_id = $1 "
                        "ORDER BY created_ms DESC NULLS LAST, number DESC LIMIT 1",
                        "t", job_id);
        if (!status)
            status = read_state(r, out, e);
        PQclear(r);
    }
    return status;
}

/* What other processes that run hold is theirs; and a row whose job is not there yet may
 * belong to a request that is about to write it. */
static int webhooks_recover(struct store *s, struct err *e)
{
    int status, instance = ((struct pg_store *)s)->pool.instance;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE webhook_outbox SET next_ms = 0, claimed = false "
                       "WHERE claimed AND (holder = $1 OR (" PG_SETTLED
                       " AND holder NOT IN " PG_RUNNING "))",
                       "i", instance);
        if (n >= 0)
            n = pg_run(t.conn, e,
                       "DELETE FROM job_webhooks WHERE made < now() - interval '1 hour' "
                       "AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = job_id)",
                       "");
        status = n < 0 ? n : 0;
    }
    return status;
}

const struct store_webhooks_ops pg_webhooks_ops = {
    .put = webhooks_put,
    .drop = webhooks_drop,
    .claim = webhooks_claim,
    .end = webhooks_end,
    .next = webhooks_next,
    .state = webhooks_state,
    .recover = webhooks_recover,
};
