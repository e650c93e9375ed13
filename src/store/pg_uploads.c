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
    };
    (void)snprintf(out->id, sizeof out->id, "%s", id);
    if (!failed)
        return 0;
    store_upload_release(out);
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int uploads_get(struct store *s, const char *id, struct store_upload *out,
                       struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT caller, params, metadata, length, received, done, "
                        "created_ms, expires_ms, concat FROM uploads WHERE id = $1",
                        "t", id);
        if (!status)
            status = read_upload(r, id, out, e);
        PQclear(r);
    }
    return status;
}

static int uploads_advance(struct store *s, const char *id, int64_t length,
                           int64_t received, int64_t expires_ms, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = one(pg_run(t.conn, e,
                            "UPDATE uploads SET length = $1, received = $2, "
                            "expires_ms = $3 WHERE id = $4 AND NOT done",
                            "lllt", length, received, expires_ms, id),
                     e);
    return status;
}

static int uploads_finish(struct store *s, const char *id, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = one(pg_run(t.conn, e,
                            "UPDATE uploads SET done = true, params = '{}' WHERE id = $1",
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
    .advance = uploads_advance,
    .finish = uploads_finish,
    .remove = uploads_remove,
    .find = uploads_find,
};
