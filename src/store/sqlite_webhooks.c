#include "base/mem.h"
#include "store/sqlite_conn.h"
#include "store/sqlite_read.h"
#include "store/webhooks.h"

#define READER(s) sqlite_store_reader((struct sqlite_store *)(s))
#define WRITER(s) sqlite_store_writer((struct sqlite_store *)(s))

void store_delivery_release(struct store_delivery *d)
{
    if (!d)
        return;
    free(d->id);
    free(d->event);
    free(d->url);
    free(d->secret);
    *d = (struct store_delivery){0};
}

void store_webhook_state_release(struct store_webhook_state *s)
{
    if (!s)
        return;
    free(s->url);
    free(s->state);
    free(s->error);
    *s = (struct store_webhook_state){0};
}

static int webhooks_put(struct store *s, const char *job_id,
                        const struct store_webhook *hook, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(
        c, e, "INSERT OR REPLACE INTO job_webhooks VALUES (?, ?, ?, ?)", "ttti", job_id,
        hook->url, hook->secret ? hook->secret : "", (int)hook->with_transcript);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int webhooks_drop(struct store *s, const char *job_id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "DELETE FROM job_webhooks WHERE job_id = ? AND NOT EXISTS "
                            "(SELECT 1 FROM jobs WHERE id = job_id)",
                            "t", job_id);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int claim_id(struct sqlite_conn *c, int64_t now_ms, int64_t lease_ms, char id[80],
                    struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c,
        "UPDATE webhook_outbox SET attempts = attempts + 1, claimed = 1, next_ms = ? "
        "WHERE id = (SELECT id FROM webhook_outbox WHERE state = 'waiting' "
        "            AND next_ms <= ? ORDER BY next_ms LIMIT 1) RETURNING id",
        &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "ll", lease_ms, now_ms);
    int step;
    id[0] = '\0';
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW)
        (void)snprintf(id, 80, "%s", (const char *)sqlite3_column_text(stmt, 0));
    if (step != SQLITE_DONE)
        status = sqlite_conn_error(c, e);
    else if (!id[0])
        status = err_set(e, ERR_NOT_FOUND, "no webhook is due");
    sqlite3_reset(stmt);
    return status;
}

static int read_delivery(struct sqlite_conn *c, const char *id,
                         struct store_delivery *out, struct err *e)
{
    sqlite3_stmt *stmt;
    bool failed = false;
    int status = sqlite_conn_prepare(
        c,
        "SELECT o.id, event, o.job_id, url, secret, with_transcript, attempts, "
        "created_ms FROM webhook_outbox o JOIN job_webhooks w ON w.job_id = o.job_id "
        "WHERE o.id = ?",
        &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "t", id);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        const char *job = (const char *)sqlite3_column_text(stmt, 2);
        *out = (struct store_delivery){
            .id = sqlite_column_text(stmt, 0, &failed),
            .event = sqlite_column_text(stmt, 1, &failed),
            .url = sqlite_column_text(stmt, 3, &failed),
            .secret = sqlite_column_text(stmt, 4, &failed),
            .with_transcript = sqlite3_column_int(stmt, 5) != 0,
            .attempts = sqlite3_column_int(stmt, 6),
            .created_ms = sqlite3_column_int64(stmt, 7),
        };
        (void)snprintf(out->job_id, sizeof out->job_id, "%s", job ? job : "");
        if (failed) {
            store_delivery_release(out);
            status = err_set(e, ERR_NOMEM, "out of memory");
        }
    } else {
        status = step == SQLITE_DONE ? err_set(e, ERR_NOT_FOUND, "no webhook is due")
                                     : sqlite_conn_error(c, e);
    }
    sqlite3_reset(stmt);
    return status;
}

static int webhooks_claim(struct store *s, int64_t now_ms, int64_t lease_ms,
                          struct store_delivery *out, struct err *e)
{
    char id[80];
    struct sqlite_conn *c = WRITER(s);
    int status = claim_id(c, now_ms, lease_ms, id, e);
    if (!status)
        status = read_delivery(c, id, out, e);
    sqlite_store_done(c);
    return status;
}

static int webhooks_end(struct store *s, const struct store_delivery *d,
                        const struct store_delivery_end *how, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "UPDATE webhook_outbox SET state = ?, claimed = 0, "
                            "next_ms = ?, last_ms = ?, http_status = ?, error = ? "
                            "WHERE id = ? AND attempts = ? AND state = 'waiting'",
                            "tllitti", how->state, how->next_ms, how->now_ms,
                            how->http_status, how->error, d->id, d->attempts);
    sqlite_store_done(c);
    if (n < 0)
        return n;
    return n ? 0 : err_set(e, ERR_STATE, "the webhook was overtaken");
}

static int webhooks_next(struct store *s, int64_t *next_ms, struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(
        c, "SELECT MIN(next_ms) FROM webhook_outbox WHERE state = 'waiting'", &stmt, e);
    if (!status) {
        *next_ms = INT64_MAX;
        if (sqlite3_step(stmt) != SQLITE_ROW)
            status = sqlite_conn_error(c, e);
        else if (sqlite3_column_type(stmt, 0) != SQLITE_NULL)
            *next_ms = sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

static int read_state(sqlite3_stmt *stmt, struct store_webhook_state *out, struct err *e)
{
    bool failed = false;
    *out = (struct store_webhook_state){
        .url = sqlite_column_text(stmt, 0, &failed),
        .state = sqlite_column_text(stmt, 1, &failed),
        .error = sqlite_column_text(stmt, 2, &failed),
        .attempts = sqlite3_column_int(stmt, 3),
        .http_status = sqlite3_column_int(stmt, 4),
        .last_ms = sqlite3_column_int64(stmt, 5),
        .next_ms = sqlite3_column_int64(stmt, 6),
    };
    if (!failed)
        return 0;
    store_webhook_state_release(out);
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int webhooks_state(struct store *s, const char *job_id,
                          struct store_webhook_state *out, struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(
        c,
        "SELECT url, COALESCE(state, 'none'), COALESCE(error, ''), "
        "COALESCE(attempts, 0), COALESCE(http_status, 0), COALESCE(last_ms, 0), "
        "COALESCE(next_ms, 0) FROM job_webhooks w LEFT JOIN webhook_outbox o "
        "ON o.job_id = w.job_id WHERE w.job_id = ? "
        "ORDER BY created_ms DESC, o.rowid DESC LIMIT 1",
        &stmt, e);
    if (status)
        goto done;
    sqlite_conn_bind(stmt, "t", job_id);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW)
        status = read_state(stmt, out, e);
    else
        status = step == SQLITE_DONE ? err_set(e, ERR_NOT_FOUND, "the job has no webhook")
                                     : sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
done:
    sqlite_store_done(c);
    return status;
}

static int webhooks_recover(struct store *s, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(
        c, e, "UPDATE webhook_outbox SET next_ms = 0, claimed = 0 WHERE claimed", "");
    if (n >= 0)
        n = sqlite_conn_run(c, e,
                            "DELETE FROM job_webhooks WHERE NOT EXISTS "
                            "(SELECT 1 FROM jobs WHERE id = job_id)",
                            "");
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

const struct store_webhooks_ops sqlite_webhooks_ops = {
    .put = webhooks_put,
    .drop = webhooks_drop,
    .claim = webhooks_claim,
    .end = webhooks_end,
    .next = webhooks_next,
    .state = webhooks_state,
    .recover = webhooks_recover,
};
