/* Keys, sessions and usage in PostgreSQL: see keys.h for what each function answers. */
#include "store/keys.h"

#include "base/mem.h"
#include "store/pg_jobs.h"
#include "store/pg_schema.h"
#include "store/quota.h"

#define DAY_MS INT64_C(86400000)

/* In the order that read_key expects. */
#define KEY_COLUMNS                                                                      \
    "keys.id, name, keys.hash, scopes, keys.created_ms, keys.expires_ms, revoked_ms, "   \
    "used_ms, minutes_per_day"
#define KEY_COLUMN_COUNT 9

static void read_key(const PGresult *r, int row, struct store_key *k)
{
    *k = (struct store_key){0};
    pg_copy_to(r, row, 0, k->id, sizeof k->id);
    pg_copy_to(r, row, 1, k->name, sizeof k->name);
    pg_copy_to(r, row, 2, k->hash, sizeof k->hash);
    k->scopes = (int)pg_int(r, row, 3);
    k->created_ms = pg_int(r, row, 4);
    k->expires_ms = pg_int(r, row, 5);
    k->revoked_ms = pg_int(r, row, 6);
    k->used_ms = pg_int(r, row, 7);
    k->minutes_per_day = pg_int(r, row, 8);
}

/* Of two processes that make the first key at the same time, one waits. */
static int add_with(struct pg_conn *c, const struct store_key *k, bool first,
                    struct err *e)
{
    int n = first ? pg_run(c, e,
                           "SELECT pg_advisory_xact_lock(" PG_STRING(
                               PG_LOCK_ONE) ", " PG_ONE_KEY ")",
                           "")
                  : 0;
    if (n >= 0)
        n = pg_run(c, e,
                   "INSERT INTO keys (id, name, hash, scopes, created_ms, expires_ms, "
                   "minutes_per_day) SELECT $1, $2, $3, $4, $5, $6, $7 "
                   "WHERE NOT $8 OR NOT EXISTS (SELECT 1 FROM keys)",
                   "tttilllb", k->id, k->name, k->hash, k->scopes, k->created_ms,
                   k->expires_ms, k->minutes_per_day, (int)first);
    if (n == 0)
        return err_set(e, ERR_EXISTS, "there is a key already");
    return n < 0 ? n : 0;
}

static int key_add(struct store *s, const struct store_key *k, bool first, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = add_with(t.conn, k, first, e);
    return status;
}

static int get_with(struct pg_conn *c, const char *id, struct store_key *out,
                    struct err *e)
{
    PGresult *r;
    int status =
        pg_ask(c, &r, e, "SELECT " KEY_COLUMNS " FROM keys WHERE id = $1", "t", id);
    if (!status && !PQntuples(r))
        status = err_set(e, ERR_NOT_FOUND, "there is no key %.40s", id);
    if (!status)
        read_key(r, 0, out);
    PQclear(r);
    return status;
}

static int key_get(struct store *s, const char *id, struct store_key *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e))
        status = get_with(t.conn, id, out, e);
    return status;
}

static int read_list(const PGresult *r, struct store_key_list *out, struct err *e)
{
    int n = PQntuples(r);
    if (!n)
        return 0;
    out->keys = mem_array((size_t)n, sizeof *out->keys);
    if (!out->keys)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        read_key(r, i, &out->keys[i]);
        out->keys[i].seconds_today = pg_double(r, i, KEY_COLUMN_COUNT);
    }
    out->count = (size_t)n;
    return 0;
}

static int key_list(struct store *s, int64_t now_ms, struct store_key_list *out,
                    struct err *e)
{
    int status;
    *out = (struct store_key_list){0};
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT " KEY_COLUMNS ", COALESCE(seconds, 0) FROM keys "
                        "LEFT JOIN audio_usage ON caller = keys.id AND day = $1 "
                        "ORDER BY keys.created_ms DESC, keys.id",
                        "l", now_ms / DAY_MS);
        if (!status)
            status = read_list(r, out, e);
        PQclear(r);
    }
    return status;
}

static int key_any(struct store *s, bool *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e, "SELECT EXISTS (SELECT 1 FROM keys)", "");
        if (!status)
            *out = pg_bool(r, 0, 0);
        PQclear(r);
    }
    return status;
}

/* Nothing was revoked: say why. */
static int why_not_revoked(struct pg_conn *c, const char *id, struct err *e)
{
    struct store_key k;
    int status = get_with(c, id, &k, e);
    return status ? status : err_set(e, ERR_STATE, "the key %s is revoked already", k.id);
}

static int key_revoke(struct store *s, const char *id, int64_t now_ms, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE keys SET revoked_ms = $1 WHERE id = $2 "
                       "AND revoked_ms = 0",
                       "lt", now_ms, id);
        if (n > 0)
            n = pg_run(t.conn, e, "DELETE FROM sessions WHERE key_id = $1", "t", id);
        else if (n == 0)
            n = why_not_revoked(t.conn, id, e);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int key_touch(struct store *s, const char *id, int64_t now_ms, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE keys SET used_ms = GREATEST(used_ms, $1) WHERE id = $2",
                       "lt", now_ms, id);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int usage_with(struct pg_conn *c, const char *caller, int64_t now_ms,
                      struct store_usage *out, struct err *e)
{
    PGresult *r;
    int status = pg_ask(
        c, &r, e,
        "SELECT COALESCE((SELECT seconds FROM audio_usage WHERE caller = $1 "
        "AND day = $2), 0), (SELECT COALESCE(SUM(file_bytes), 0)::bigint FROM jobs "
        "WHERE caller = $1 AND duration_seconds = 0 "
        "AND status IN ('pending', 'processing')), (SELECT COUNT(*) FROM jobs JOIN "
        "job_sources ON job_id = id WHERE caller = $1 AND NOT fetched "
        "AND duration_seconds = 0 AND status IN ('pending', 'processing'))",
        "tl", caller, now_ms / DAY_MS);
    if (!status)
        *out = (struct store_usage){pg_double(r, 0, 0), pg_int(r, 0, 1), pg_int(r, 0, 2)};
    PQclear(r);
    return status;
}

static int key_usage(struct store *s, const char *caller, int64_t now_ms,
                     struct store_usage *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e))
        status = usage_with(t.conn, caller, now_ms, out, e);
    return status;
}

/* The row of the key is locked, so that jobs of one key are made one after the other. */
int pg_quota_with(struct pg_conn *c, const char *caller, int64_t now_ms, bool urls,
                  struct err *e)
{
    struct store_usage used = {0};
    PGresult *r;
    int64_t minutes = 0;
    if (!caller || !*caller)
        return 0;
    int status = pg_ask(c, &r, e,
                        "SELECT minutes_per_day FROM keys WHERE id = $1 AND "
                        "minutes_per_day > 0 FOR NO KEY UPDATE",
                        "t", caller);
    if (!status && PQntuples(r))
        minutes = pg_int(r, 0, 0);
    PQclear(r);
    if (!status && minutes)
        status = usage_with(c, caller, now_ms, &used, e);
    return status ? status : quota_check(&used, minutes, urls, e);
}

static int key_usage_trim(struct store *s, int64_t before_ms, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e, "DELETE FROM audio_usage WHERE day < $1", "l",
                       before_ms / DAY_MS);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int session_add(struct store *s, const struct store_session *x, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions "
                       "WHERE expires_ms <= $1 FOR UPDATE SKIP LOCKED)",
                       "l", x->created_ms);
        if (n >= 0)
            n = pg_run(t.conn, e,
                       "INSERT INTO sessions (id, hash, key_id, created_ms, expires_ms) "
                       "VALUES ($1, $2, $3, $4, $5)",
                       "tttll", x->id, x->hash, x->key_id, x->created_ms, x->expires_ms);
        status = n < 0 ? n : 0;
    }
    return status;
}

static void read_session(const PGresult *r, const char *id, struct store_session *out,
                         struct store_key *key)
{
    read_key(r, 0, key);
    *out = (struct store_session){.created_ms = pg_int(r, 0, KEY_COLUMN_COUNT + 1),
                                  .expires_ms = pg_int(r, 0, KEY_COLUMN_COUNT + 2)};
    pg_copy_to(r, 0, KEY_COLUMN_COUNT, out->hash, sizeof out->hash);
    (void)snprintf(out->id, sizeof out->id, "%s", id);
    memcpy(out->key_id, key->id, sizeof out->key_id);
}

static int session_get(struct store *s, const char *id, struct store_session *out,
                       struct store_key *key, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT " KEY_COLUMNS ", sessions.hash, sessions.created_ms, "
                        "sessions.expires_ms FROM sessions JOIN keys ON keys.id = key_id "
                        "WHERE sessions.id = $1",
                        "t", id);
        if (!status && !PQntuples(r))
            status = err_set(e, ERR_NOT_FOUND, "there is no session %.40s", id);
        if (!status)
            read_session(r, id, out, key);
        PQclear(r);
    }
    return status;
}

static int session_drop(struct store *s, const char *id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e, "DELETE FROM sessions WHERE id = $1", "t", id);
        status = n < 0 ? n : 0;
    }
    return status;
}

const struct store_keys_ops pg_keys_ops = {
    .add = key_add,
    .get = key_get,
    .list = key_list,
    .any = key_any,
    .revoke = key_revoke,
    .touch = key_touch,
    .usage = key_usage,
    .usage_trim = key_usage_trim,
    .session_add = session_add,
    .session_get = session_get,
    .session_drop = session_drop,
};
