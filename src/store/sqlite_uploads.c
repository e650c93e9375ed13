#include "base/mem.h"
#include "store/sqlite_conn.h"
#include "store/sqlite_read.h"
#include "store/uploads.h"

#define READER(s) sqlite_store_reader((struct sqlite_store *)(s))
#define WRITER(s) sqlite_store_writer((struct sqlite_store *)(s))

void store_upload_release(struct store_upload *u)
{
    if (!u)
        return;
    free(u->caller);
    free(u->params);
    free(u->metadata);
    free(u->concat);
    free(u->state);
    *u = (struct store_upload){0};
}

static int no_such_upload(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "there is no such upload, or it has expired");
}

/* What a statement about one upload did. */
static int one(int changed, struct err *e)
{
    return changed < 0 ? changed : changed ? 0 : no_such_upload(e);
}

static int uploads_insert(struct store *s, const struct store_upload *u, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "INSERT INTO uploads (id, caller, params, metadata, concat, "
                            "length, created_ms, expires_ms) "
                            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                            "tttttlll", u->id, u->caller, u->params, u->metadata,
                            u->concat ? u->concat : "", u->length, u->created_ms,
                            u->expires_ms);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int read_upload(sqlite3_stmt *stmt, const char *id, struct store_upload *out,
                       struct err *e)
{
    bool failed = false;
    *out = (struct store_upload){
        .caller = sqlite_column_text(stmt, 0, &failed),
        .params = sqlite_column_text(stmt, 1, &failed),
        .metadata = sqlite_column_text(stmt, 2, &failed),
        .length = sqlite3_column_int64(stmt, 3),
        .received = sqlite3_column_int64(stmt, 4),
        .done = sqlite3_column_int(stmt, 5) != 0,
        .created_ms = sqlite3_column_int64(stmt, 6),
        .expires_ms = sqlite3_column_int64(stmt, 7),
        .concat = sqlite_column_text(stmt, 8, &failed),
        .state = sqlite_column_text(stmt, 9, &failed),
        .epoch = sqlite3_column_int64(stmt, 10),
        .next = sqlite3_column_int(stmt, 11),
    };
    (void)snprintf(out->id, sizeof out->id, "%s", id);
    if (!failed)
        return 0;
    store_upload_release(out);
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int get(struct sqlite_conn *c, const char *id, struct store_upload *out,
               struct err *e)
{
    sqlite3_stmt *stmt;
    int status =
        sqlite_conn_prepare(c,
                            "SELECT caller, params, metadata, length, received, "
                            "done, created_ms, expires_ms, concat, state, epoch, "
                            "next_part FROM uploads WHERE id = ?",
                            &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "t", id);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW)
        status = read_upload(stmt, id, out, e);
    else
        status = step == SQLITE_DONE ? no_such_upload(e) : sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

static int uploads_get(struct store *s, const char *id, struct store_upload *out,
                       struct err *e)
{
    struct sqlite_conn *c = READER(s);
    int status = get(c, id, out, e);
    sqlite_store_done(c);
    return status;
}

/* Two statements in one transaction: what was before tells whether anybody may write. */
static int claim(struct sqlite_conn *c, const char *id, struct store_upload *out,
                 struct err *e)
{
    int clean = sqlite_conn_run(c, e,
                                "UPDATE uploads SET held = 1 "
                                "WHERE id = ? AND NOT held AND NOT done",
                                "t", id);
    int n = clean < 0 ? clean
                      : sqlite_conn_run(c, e,
                                        "UPDATE uploads SET epoch = epoch + 1 "
                                        "WHERE id = ? AND NOT done",
                                        "t", id);
    int status = one(n, e);
    if (!status)
        status = get(c, id, out, e);
    if (!status)
        out->clean = clean > 0;
    return status;
}

static int uploads_claim(struct store *s, const char *id, struct store_upload *out,
                         struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    struct store_upload found = {0};
    int status = sqlite_conn_begin(c, e);
    if (!status) {
        status = claim(c, id, &found, e);
        status = sqlite_conn_end(c, status, e);
    }
    sqlite_store_done(c);
    if (status)
        store_upload_release(&found);
    else
        *out = found;
    return status;
}

static int uploads_advance(struct store *s, const struct store_upload *u, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "UPDATE uploads SET length = ?, received = ?, state = ?, "
                            "expires_ms = ? WHERE id = ? AND epoch = ? AND NOT done",
                            "lltltl", u->length, u->received, u->state ? u->state : "",
                            u->expires_ms, u->id, u->epoch);
    sqlite_store_done(c);
    return one(n, e);
}

static int uploads_note(struct store *s, const char *id, int64_t epoch, int next,
                        struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e,
                            "UPDATE uploads SET next_part = ? "
                            "WHERE id = ? AND epoch = ? AND NOT done",
                            "itl", next, id, epoch);
    sqlite_store_done(c);
    return one(n, e);
}

static int uploads_let_go(struct store *s, const char *id, int64_t epoch, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(
        c, e, "UPDATE uploads SET held = 0 WHERE id = ? AND epoch = ?", "tl", id, epoch);
    sqlite_store_done(c);
    return n < 0 ? n : 0;
}

static int uploads_finish(struct store *s, const char *id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(
        c, e, "UPDATE uploads SET done = 1, params = '{}', state = '' WHERE id = ?", "t",
        id);
    sqlite_store_done(c);
    return one(n, e);
}

static int uploads_remove(struct store *s, const char *id, struct err *e)
{
    struct sqlite_conn *c = WRITER(s);
    int n = sqlite_conn_run(c, e, "DELETE FROM uploads WHERE id = ?", "t", id);
    sqlite_store_done(c);
    return one(n, e);
}

static int uploads_find(struct store *s, enum store_uploads_which which, int64_t now_ms,
                        char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e)
{
    *count = 0;
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(
        c,
        which == STORE_UPLOADS_EXPIRED
            ? "SELECT id FROM uploads WHERE expires_ms < ? ORDER BY expires_ms LIMIT ?"
            : "SELECT id FROM uploads WHERE created_ms <= ? AND received = length "
              "AND NOT done AND concat <> 'partial' LIMIT ?",
        &stmt, e);
    if (status)
        goto done;
    sqlite_conn_bind(stmt, "ll", now_ms, (int64_t)max);
    status = sqlite_read_ids(c, stmt, ids, max, count, e);
    sqlite3_reset(stmt);
done:
    sqlite_store_done(c);
    return status;
}

const struct store_uploads_ops sqlite_uploads_ops = {
    .insert = uploads_insert,
    .get = uploads_get,
    .claim = uploads_claim,
    .advance = uploads_advance,
    .note = uploads_note,
    .let_go = uploads_let_go,
    .finish = uploads_finish,
    .remove = uploads_remove,
    .find = uploads_find,
};
