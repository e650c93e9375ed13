/* Uploads that come in several requests, in PostgreSQL: see uploads.h. */
#include "store/uploads.h"

#include "store/pg_jobs.h"

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
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n =
            pg_run(t.conn, e,
                   "INSERT INTO uploads (id, caller, params, metadata, concat, "
                   "length, created_ms, expires_ms) "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                   "tttttlll", u->id, u->caller, u->params, u->metadata,
                   u->concat ? u->concat : "", u->length, u->created_ms, u->expires_ms);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int read_upload(const PGresult *r, const char *id, struct store_upload *out,
                       struct err *e)
{
    bool failed = false;
    if (!PQntuples(r))
        return no_such_upload(e);
    *out = (struct store_upload){
        .caller = pg_copy(r, 0, 0, &failed),
        .params = pg_copy(r, 0, 1, &failed),
        .metadata = pg_copy(r, 0, 2, &failed),
        .length = pg_int(r, 0, 3),
        .received = pg_int(r, 0, 4),
        .done = pg_bool(r, 0, 5),
        .created_ms = pg_int(r, 0, 6),
        .expires_ms = pg_int(r, 0, 7),
        .concat = pg_copy(r, 0, 8, &failed),
        .state = pg_copy(r, 0, 9, &failed),
        .epoch = pg_int(r, 0, 10),
        .next = (int)pg_int(r, 0, 11),
    };
    (void)snprintf(out->id, sizeof out->id, "%s", id);
    if (!failed)
        return 0;
    store_upload_release(out);
    return err_set(e, ERR_NOMEM, "out of memory");
}

#define UPLOAD                                                                           \
    "SELECT caller, params, metadata, length, received, done, created_ms, expires_ms, "  \
    "concat, state, epoch, next_part FROM uploads WHERE id = $1"

static int get(struct pg_conn *c, const char *id, struct store_upload *out, struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e, UPLOAD, "t", id);
    if (!status)
        status = read_upload(r, id, out, e);
    PQclear(r);
    return status;
}

static int uploads_get(struct store *s, const char *id, struct store_upload *out,
                       struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e))
        status = get(t.conn, id, out, e);
    return status;
}

/* Two statements in one transaction: what was before tells whether anybody may write. */
static int claim(struct pg_conn *c, const char *id, struct store_upload *out,
                 struct err *e)
{
    int n = pg_run(
        c, e, "UPDATE uploads SET epoch = epoch + 1 WHERE id = $1 AND NOT done", "t", id);
    int status = one(n, e);
    int clean = status ? status
                       : pg_run(c, e,
                                "UPDATE uploads SET held = true "
                                "WHERE id = $1 AND NOT held",
                                "t", id);
    if (clean < 0)
        return clean;
    status = get(c, id, out, e);
    if (!status)
        out->clean = clean > 0;
    return status;
}

static int uploads_claim(struct store *s, const char *id, struct store_upload *out,
                         struct err *e)
{
    int status;
    struct store_upload found = {0};
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        store_upload_release(&found);
        status = claim(t.conn, id, &found, e);
    }
    if (status)
        store_upload_release(&found);
    else
        *out = found;
    return status;
}

static int uploads_advance(struct store *s, const struct store_upload *u, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = one(pg_run(t.conn, e,
                            "UPDATE uploads SET length = $1, received = $2, state = $3, "
                            "expires_ms = $4 WHERE id = $5 AND epoch = $6 AND NOT done",
                            "lltltl", u->length, u->received, u->state ? u->state : "",
                            u->expires_ms, u->id, u->epoch),
                     e);
    return status;
}

static int uploads_note(struct store *s, const char *id, int64_t epoch, int next,
                        struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = one(pg_run(t.conn, e,
                            "UPDATE uploads SET next_part = $1 "
                            "WHERE id = $2 AND epoch = $3 AND NOT done",
                            "itl", next, id, epoch),
                     e);
    return status;
}

static int uploads_let_go(struct store *s, const char *id, int64_t epoch, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "UPDATE uploads SET held = false WHERE id = $1 AND epoch = $2",
                       "tl", id, epoch);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int uploads_finish(struct store *s, const char *id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = one(pg_run(t.conn, e,
                            "UPDATE uploads SET done = true, params = '{}', state = '' "
                            "WHERE id = $1",
                            "t", id),
                     e);
    return status;
}

static int uploads_remove(struct store *s, const char *id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = one(pg_run(t.conn, e, "DELETE FROM uploads WHERE id = $1", "t", id), e);
    return status;
}

static int uploads_find(struct store *s, enum store_uploads_which which, int64_t now_ms,
                        char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e)
{
    int status;
    *count = 0;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(
            t.conn, &r, e,
            which == STORE_UPLOADS_EXPIRED
                ? "SELECT id FROM uploads WHERE expires_ms < $1 ORDER BY expires_ms "
                  "LIMIT $2"
                : "SELECT id FROM uploads WHERE created_ms <= $1 AND received = length "
                  "AND NOT done AND concat <> 'partial' LIMIT $2",
            "ll", now_ms, (int64_t)max);
        if (!status)
            pg_read_ids(r, ids, max, count);
        PQclear(r);
    }
    return status;
}

const struct store_uploads_ops pg_uploads_ops = {
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
