/* Jobs that several requests share, settings and waveforms in PostgreSQL: see share.h,
 * settings.h and waveform.h. */
#include "store/share.h"

#include "base/mem.h"
#include "store/pg_jobs.h"
#include "store/settings.h"
#include "store/waveform.h"

/* ---- shared jobs ----------------------------------------------------------------- */

/* One request of a key at a time: the second waits here, and then finds the first. */
static int share_with(struct pg_store *s, struct pg_conn *c, const struct job *j,
                      const char *sha256, const char *key, int64_t since_ms,
                      char existing[ID_SIZE], struct err *e)
{
    PGresult *r = NULL;
    existing[0] = '\0';
    int n =
        pg_run(c, e, "SELECT pg_advisory_xact_lock(hashtextextended($1, 2))", "t", key);
    int status = n < 0 ? n
                       : pg_ask(c, &r, e,
                                "SELECT id FROM job_shares JOIN jobs ON id = job_id "
                                "WHERE share_key = $1 AND created_ms >= $2 AND status IN "
                                "('pending', 'processing', 'completed')",
                                "tl", key, since_ms);
    if (!status && PQntuples(r) && id_valid(pg_text(r, 0, 0)))
        pg_copy_to(r, 0, 0, existing, ID_SIZE);
    PQclear(r);
    if (status || existing[0])
        return status;
    status = pg_insert_with(s, c, j, sha256, e);
    if (status)
        return status;
    n = pg_run(c, e,
               "INSERT INTO job_shares (share_key, job_id) VALUES ($1, $2) "
               "ON CONFLICT (share_key) DO UPDATE SET job_id = excluded.job_id",
               "tt", key, j->id);
    return n < 0 ? n : 0;
}

static int share_insert(struct store *s, const struct job *j, const char *sha256,
                        const char *key, int64_t since_ms, char existing[ID_SIZE],
                        struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = share_with((struct pg_store *)s, t.conn, j, sha256, key, since_ms,
                            existing, e);
    return status;
}

static int read_windows(const PGresult *r, struct store_windows *out, struct err *e)
{
    int n = PQntuples(r);
    bool failed = false;
    if (!n)
        return 0;
    out->list = mem_array((size_t)n, sizeof *out->list);
    for (int i = 0; out->list && !failed && i < n; i++) {
        out->list[out->count] = pg_copy(r, i, 0, &failed);
        out->count += !failed;
    }
    return !out->list || failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

static int share_windows(struct store *s, const char *id, int64_t from,
                         struct store_windows *out, struct err *e)
{
    int status;
    *out = (struct store_windows){0};
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT segments FROM job_windows WHERE job_id = $1 "
                        "AND position >= $2 ORDER BY position",
                        "tl", id, from);
        if (!status)
            status = read_windows(r, out, e);
        PQclear(r);
    }
    if (status)
        store_windows_release(out);
    return status;
}

const struct store_share_ops pg_share_ops = {
    .insert = share_insert,
    .windows = share_windows,
};

/* ---- settings -------------------------------------------------------------------- */

static int settings_get(struct store *s, const char *name, struct buf *value,
                        struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e, "SELECT value FROM settings WHERE name = $1", "t",
                        name);
        if (!status && !PQntuples(r))
            status = err_set(e, ERR_NOT_FOUND, "%s was never set", name);
        else if (!status)
            buf_str(value, pg_text(r, 0, 0));
        PQclear(r);
    }
    if (!status && buf_failed(value))
        status = err_set(e, ERR_NOMEM, "out of memory");
    return status;
}

static int settings_set(struct store *s, const char *name, const char *value,
                        struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n =
            value ? pg_run(t.conn, e,
                           "INSERT INTO settings VALUES ($1, $2) "
                           "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                           "tt", name, value)
                  : pg_run(t.conn, e, "DELETE FROM settings WHERE name = $1", "t", name);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int settings_unfinished(struct store *s, const char *model, int64_t *count,
                               struct err *e)
{
    int status;
    *count = 0;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT COUNT(*) FROM jobs WHERE model = $1 AND "
                        "status IN ('pending', 'processing')",
                        "t", model);
        if (!status)
            *count = pg_int(r, 0, 0);
        PQclear(r);
    }
    return status;
}

const struct store_settings_ops pg_settings_ops = {
    .get = settings_get,
    .set = settings_set,
    .unfinished = settings_unfinished,
};

/* ---- waveforms ------------------------------------------------------------------- */

static int save(struct store *s, const char *id, int attempt, const void *bytes,
                size_t length, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        int n = pg_run(t.conn, e,
                       "INSERT INTO waveforms (job_id, peaks) SELECT id, $1 FROM jobs "
                       "WHERE id = $2 AND attempt = $3 AND status = 'processing' "
                       "FOR NO KEY UPDATE "
                       "ON CONFLICT (job_id) DO UPDATE SET peaks = excluded.peaks",
                       "xti", bytes, length, id, attempt);
        status = n < 0 ? n : 0;
        if (n == 0)
            status = err_set(e, ERR_STATE,
                             "the job %.36s is not with this attempt any more", id);
    }
    return status;
}

static int load(struct store *s, const char *id, struct buf *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e, "SELECT peaks FROM waveforms WHERE job_id = $1",
                        "t", id);
        if (!status && !PQntuples(r))
            status = err_set(e, ERR_NOT_FOUND, "the job %.36s has no waveform", id);
        else if (!status)
            buf_add(out, PQgetvalue(r, 0, 0), (size_t)PQgetlength(r, 0, 0));
        PQclear(r);
    }
    if (!status && buf_failed(out))
        status = err_set(e, ERR_NOMEM, "out of memory");
    return status;
}

const struct store_waveform_ops pg_waveform_ops = {.save = save, .load = load};
