/* Keys, sessions and usage in SQL. */
#include "store/keys.h"

#include "base/mem.h"
#include "store/quota.h"
#include "store/sqlite_native.h"

#define DAY_MS    INT64_C(86400000)
#define READER(s) sqlite_store_reader((struct sqlite_store *)(s))
#define WRITER(s) sqlite_store_writer((struct sqlite_store *)(s))

/* In the order that read_key expects. */
#define KEY_COLUMNS                                                                      \
    "keys.id, name, keys.hash, scopes, keys.created_ms, keys.expires_ms, revoked_ms, "   \
    "used_ms, minutes_per_day"
#define KEY_COLUMN_COUNT 9

void store_key_list_release(struct store_key_list *l)
{
    if (!l)
        return;
    free(l->keys);
    *l = (struct store_key_list){0};
}

static void copy_text(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    (void)snprintf(out, size, "%s", text ? text : "");
}

static void read_key(sqlite3_stmt *stmt, struct store_key *k)
{
    *k = (struct store_key){0};
    copy_text(stmt, 0, k->id, sizeof k->id);
    copy_text(stmt, 1, k->name, sizeof k->name);
    copy_text(stmt, 2, k->hash, sizeof k->hash);
    k->scopes = sqlite3_column_int(stmt, 3);
    k->created_ms = sqlite3_column_int64(stmt, 4);
    k->expires_ms = sqlite3_column_int64(stmt, 5);
    k->revoked_ms = sqlite3_column_int64(stmt, 6);
    k->used_ms = sqlite3_column_int64(stmt, 7);
    k->minutes_per_day = sqlite3_column_int64(stmt, 8);
}

static int no_such_key(struct err *e, const char *id)
{
    return err_set(e, ERR_NOT_FOUND, "there is no key %.40s", id);
}

/* SQLITE_ROW, or an error: `missing` when there is no row. */
static int one_row(struct sqlite_conn *c, sqlite3_stmt *stmt, int missing, struct err *e)
{
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW)
        return 0;
    return step == SQLITE_DONE ? missing : sqlite_conn_error(c, e);
}

static int key_add(struct store *s, const struct store_key *k, bool first, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "INSERT INTO keys (id, name, hash, scopes, created_ms, "
                            "expires_ms, minutes_per_day) SELECT ?, ?, ?, ?, ?, ?, ? "
                            "WHERE NOT ? OR NOT EXISTS (SELECT 1 FROM keys)",
                            "tttillli", k->id, k->name, k->hash, k->scopes, k->created_ms,
                            k->expires_ms, k->minutes_per_day, (int)first);
    sqlite_store_done(c);
    if (n == 0)
        return err_set(e, ERR_EXISTS, "there is a key already");
    return n < 0 ? n : 0;
}

static int key_get_with(struct sqlite_conn *c, const char *id, struct store_key *out,
                        struct err *e)
{
    sqlite3_stmt *stmt;
    int status =
        sqlite_conn_prepare(c, "SELECT " KEY_COLUMNS " FROM keys WHERE id = ?", &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "t", id);
    status = one_row(c, stmt, ERR_NOT_FOUND, e);
    if (!status)
        read_key(stmt, out);
    else if (status == ERR_NOT_FOUND)
        (void)no_such_key(e, id);
    sqlite3_reset(stmt);
    return status;
}

static int key_get(struct store *s, const char *id, struct store_key *out, struct err *e)
{
    struct sqlite_conn *c = READER(s);
    int status = key_get_with(c, id, out, e);
    sqlite_store_done(c);
    return status;
}

static int read_list(struct sqlite_conn *c, sqlite3_stmt *stmt,
                     struct store_key_list *out, struct err *e)
{
    size_t capacity = 0;
    for (;;) {
        int step = sqlite3_step(stmt);
        if (step == SQLITE_DONE)
            return 0;
        if (step != SQLITE_ROW)
            return sqlite_conn_error(c, e);
        if (mem_grow(&out->keys, &capacity, out->count + 1, sizeof *out->keys))
            return err_set(e, ERR_NOMEM, "out of memory");
        struct store_key *k = &out->keys[out->count++];
        read_key(stmt, k);
        k->seconds_today = sqlite3_column_double(stmt, KEY_COLUMN_COUNT);
    }
}

static int key_list(struct store *s, int64_t now_ms, struct store_key_list *out,
                    struct err *e)
{
    *out = (struct store_key_list){0};
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status =
        sqlite_conn_prepare(c,
                            "SELECT " KEY_COLUMNS ", COALESCE(seconds, 0) FROM keys "
                            "LEFT JOIN audio_usage ON caller = keys.id AND day = ? "
                            "ORDER BY keys.created_ms DESC, keys.id",
                            &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "l", now_ms / DAY_MS);
        status = read_list(c, stmt, out, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    if (status)
        store_key_list_release(out);
    return status;
}

static int key_any(struct store *s, bool *out, struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(c, "SELECT EXISTS (SELECT 1 FROM keys)", &stmt, e);
    if (!status) {
        status = one_row(c, stmt, ERR_CORRUPT, e);
        if (!status)
            *out = sqlite3_column_int(stmt, 0) != 0;
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

/* Nothing was revoked: say why. */
static int why_not_revoked(struct sqlite_conn *c, const char *id, struct err *e)
{
    struct store_key k;
    int status = key_get_with(c, id, &k, e);
    return status ? status : err_set(e, ERR_STATE, "the key %s is revoked already", k.id);
}

static int key_revoke(struct store *s, const char *id, int64_t now_ms, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        int n = sqlite_conn_run(c, e,
                                "UPDATE keys SET revoked_ms = ? WHERE id = ? "
                                "AND revoked_ms = 0",
                                "lt", now_ms, id);
        if (n > 0)
            n = sqlite_conn_run(c, e, "DELETE FROM sessions WHERE key_id = ?", "t", id);
        else if (n == 0)
            n = why_not_revoked(c, id, e);
        status = sqlite_conn_end(c, n < 0 ? n : 0, e);
    }
    sqlite_store_done(c);
    return status;
}

static int key_touch(struct store *s, const char *id, int64_t now_ms, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(
        c, e, "UPDATE keys SET used_ms = MAX(used_ms, ?) WHERE id = ?", "lt", now_ms, id);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int usage_with(struct sqlite_conn *c, const char *caller, int64_t now_ms,
                      struct store_usage *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c,
        "SELECT COALESCE((SELECT seconds FROM audio_usage WHERE caller = ?1 AND day = "
        "?2), 0), (SELECT COALESCE(SUM(file_bytes), 0) FROM jobs WHERE caller = ?1 "
        "AND duration_seconds = 0 AND status IN ('pending', 'processing')), "
        "(SELECT COUNT(*) FROM jobs JOIN job_sources ON job_id = id "
        "WHERE caller = ?1 AND NOT fetched "
        "AND duration_seconds = 0 AND status IN ('pending', 'processing'))",
        &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "tl", caller, now_ms / DAY_MS);
        status = one_row(c, stmt, ERR_CORRUPT, e);
        if (!status)
            *out = (struct store_usage){sqlite3_column_double(stmt, 0),
                                        sqlite3_column_int64(stmt, 1),
                                        sqlite3_column_int64(stmt, 2)};
        sqlite3_reset(stmt);
    }
    return status;
}

static int key_usage(struct store *s, const char *caller, int64_t now_ms,
                     struct store_usage *out, struct err *e)
{
    struct sqlite_conn *c = READER(s);
    int status = usage_with(c, caller, now_ms, out, e);
    sqlite_store_done(c);
    return status;
}

/* `id` names the key, or the job whose caller's key it is. */
static int minutes_of(struct sqlite_conn *c, const char *sql, const char *id,
                      struct store_key *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, sql, &stmt, e);
    *out = (struct store_key){0};
    if (status)
        return status;
    sqlite_conn_bind(stmt, "t", id);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        out->minutes_per_day = sqlite3_column_int64(stmt, 0);
        (void)snprintf(out->id, sizeof out->id, "%s",
                       (const char *)sqlite3_column_text(stmt, 1));
    } else if (step != SQLITE_DONE) {
        status = sqlite_conn_error(c, e);
    }
    sqlite3_reset(stmt);
    return status;
}

static int judge(struct sqlite_conn *c, const struct store_key *k, int64_t now_ms,
                 bool urls, struct err *e)
{
    struct store_usage used = {0};
    int status = k->minutes_per_day ? usage_with(c, k->id, now_ms, &used, e) : 0;
    return status ? status : quota_check(&used, k->minutes_per_day, urls, e);
}

int sqlite_quota_with(struct sqlite_conn *c, const char *caller, int64_t now_ms,
                      struct err *e)
{
    struct store_key k;
    if (!caller || !*caller)
        return 0;
    int status =
        minutes_of(c, "SELECT minutes_per_day, id FROM keys WHERE id = ?", caller, &k, e);
    return status ? status : judge(c, &k, now_ms, true, e);
}

int sqlite_quota_of_job(struct sqlite_conn *c, const char *job_id, int64_t now_ms,
                        struct err *e)
{
    struct store_key k;
    int status = minutes_of(c,
                            "SELECT minutes_per_day, keys.id FROM keys JOIN jobs ON "
                            "caller = keys.id WHERE jobs.id = ?",
                            job_id, &k, e);
    return status ? status : judge(c, &k, now_ms, false, e);
}

static int key_usage_trim(struct store *s, int64_t before_ms, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "DELETE FROM audio_usage WHERE day < ?", "l",
                            before_ms / DAY_MS);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int session_add(struct store *s, const struct store_session *x, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        int n = sqlite_conn_run(c, e, "DELETE FROM sessions WHERE expires_ms <= ?", "l",
                                x->created_ms);
        if (n >= 0)
            n = sqlite_conn_run(c, e, "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
                                "tttll", x->id, x->hash, x->key_id, x->created_ms,
                                x->expires_ms);
        status = sqlite_conn_end(c, n < 0 ? n : 0, e);
    }
    sqlite_store_done(c);
    return status;
}

static int session_get(struct store *s, const char *id, struct store_session *out,
                       struct store_key *key, struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(
        c,
        "SELECT " KEY_COLUMNS ", sessions.hash, sessions.created_ms, "
        "sessions.expires_ms FROM sessions JOIN keys ON keys.id = key_id "
        "WHERE sessions.id = ?",
        &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "t", id);
        status = one_row(c, stmt, ERR_NOT_FOUND, e);
        if (status == ERR_NOT_FOUND)
            (void)err_set(e, ERR_NOT_FOUND, "there is no session %.40s", id);
        if (!status) {
            read_key(stmt, key);
            *out = (struct store_session){
                .created_ms = sqlite3_column_int64(stmt, KEY_COLUMN_COUNT + 1),
                .expires_ms = sqlite3_column_int64(stmt, KEY_COLUMN_COUNT + 2)};
            copy_text(stmt, KEY_COLUMN_COUNT, out->hash, sizeof out->hash);
            (void)snprintf(out->id, sizeof out->id, "%s", id);
            memcpy(out->key_id, key->id, sizeof out->key_id);
        }
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

static int session_drop(struct store *s, const char *id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "DELETE FROM sessions WHERE id = ?", "t", id);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

const struct store_keys_ops sqlite_keys_ops = {
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
