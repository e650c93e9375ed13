/* Keys that make a request happen once, and the log of changes, in PostgreSQL. */
#include "store/pg_jobs.h"

#include "base/mem.h"

/* ---- requests that happen once --------------------------------------------------- */

/* What the key was used for: ERR_EXISTS with the job's id when for the same request,
 * ERR_STATE when for another, 0 when it is free. */
static int find_key(struct pg_conn *c, const struct store_once *once, char id[ID_SIZE],
                    struct err *e)
{
    PGresult *r;
    int status =
        pg_ask(c, &r, e,
               "SELECT job_id, request FROM request_keys WHERE caller = $1 AND key = $2",
               "tt", once->caller, once->key);
    if (!status && PQntuples(r)) {
        if (id_valid(pg_text(r, 0, 0)) && !strcmp(pg_text(r, 0, 1), once->request)) {
            pg_copy_to(r, 0, 0, id, ID_SIZE);
            status = err_set(e, ERR_EXISTS, "this request was made before");
        } else {
            status = err_set(e, ERR_STATE, "the key was used for another request");
        }
    }
    PQclear(r);
    return status;
}

/* One request of a key at a time: the second waits here, and then finds the first. Old
 * keys go, unless somebody else is about to do that. */
static int insert_with_key(struct pg_store *s, struct pg_conn *c, const struct job *j,
                           const char *sha256, const struct store_once *once,
                           char id[ID_SIZE], struct err *e)
{
    int n =
        pg_run(c, e, "SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 1))",
               "tt", once->caller, once->key);
    if (n >= 0)
        n = pg_run(c, e,
                   "DELETE FROM request_keys WHERE (caller, key) IN (SELECT caller, key "
                   "FROM request_keys WHERE created_ms < $1 FOR UPDATE SKIP LOCKED)",
                   "l", once->since_ms);
    if (n < 0)
        return n;
    int status = find_key(c, once, id, e);
    if (!status)
        status = pg_insert_with(s, c, j, sha256, e);
    if (status)
        return status;
    n = pg_run(c, e,
               "INSERT INTO request_keys (caller, key, request, job_id, created_ms) "
               "VALUES ($1, $2, $3, $4, $5)",
               "ttttl", once->caller, once->key, once->request, j->id, once->now_ms);
    return n < 0 ? n : 0;
}

static int insert_once(struct store *s, const struct job *j, const char *sha256,
                       const struct store_once *once, char id[ID_SIZE], struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = insert_with_key((struct pg_store *)s, t.conn, j, sha256, once, id, e);
    return status;
}

/* ---- the log --------------------------------------------------------------------- */

static int log_extent(struct store *s, struct store_log_extent *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT number, GREATEST(number, COALESCE((SELECT MAX(number) "
                        "FROM job_events), 0)) FROM job_events_floor",
                        "");
        if (!status && !PQntuples(r))
            status = err_set(e, ERR_CORRUPT, "%s lost its log: restore it from a backup",
                             t.conn->place->name);
        if (!status)
            *out = (struct store_log_extent){pg_int(r, 0, 0), pg_int(r, 0, 1)};
        PQclear(r);
    }
    return status;
}

static int read_event(struct pg_conn *c, const PGresult *r, int row,
                      struct store_event *out, struct err *e)
{
    bool failed = false;
    const char *status = pg_text(r, row, 3);
    *out = (struct store_event){.number = pg_int(r, row, 0)};
    out->deleted = !strcmp(status, "deleted");
    if (!id_valid(pg_text(r, row, 1)) ||
        (!out->deleted && !job_status_parse(status, &out->status)))
        return err_set(e, ERR_CORRUPT, "%s holds an event that is none", c->place->name);
    pg_copy_to(r, row, 1, out->job_id, sizeof out->job_id);
    out->caller = pg_copy(r, row, 2, &failed);
    out->progress = (int)pg_int(r, row, 4);
    out->message = pg_copy(r, row, 5, &failed);
    out->time_ms = pg_int(r, row, 6);
    out->filename = pg_copy(r, row, 7, &failed);
    return failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

static int read_events(struct pg_conn *c, const PGresult *r, struct store_event_list *out,
                       struct err *e)
{
    int n = PQntuples(r), status = 0;
    if (!n)
        return 0;
    out->events = mem_array((size_t)n, sizeof *out->events);
    if (!out->events)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; !status && i < n; i++) /* one that is half read is released, too */
        status = read_event(c, r, i, &out->events[out->count++], e);
    return status;
}

static int log_read(struct store *s, int64_t after, const char *caller, size_t max,
                    struct store_event_list *out, struct err *e)
{
    int status;
    *out = (struct store_event_list){0};
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(
            t.conn, &r, e,
            "SELECT number, job_id, v.caller, v.status, v.progress, v.message, time_ms, "
            "original_filename FROM job_events v LEFT JOIN jobs j ON j.id = job_id "
            "WHERE number > $1 AND ($2 IS NULL OR v.caller = $2) ORDER BY number "
            "LIMIT $3",
            "ltl", after, caller, (int64_t)max);
        if (!status)
            status = read_events(t.conn, r, out, e);
        PQclear(r);
    }
    if (status)
        store_event_list_release(out);
    return status;
}

static int trim_with(struct pg_conn *c, int64_t before_ms, int64_t most, struct err *e)
{
    PGresult *r;
    int64_t number = 0;
    /* Of connections that are long gone. */
    int n = pg_run(c, e,
                   "DELETE FROM commits WHERE slot IN (SELECT slot FROM commits "
                   "WHERE made < now() - interval '1 day' FOR UPDATE SKIP LOCKED)",
                   "");
    if (n < 0)
        return n;
    int status =
        pg_ask(c, &r, e,
               "SELECT GREATEST(COALESCE((SELECT MAX(number) FROM job_events "
               "WHERE time_ms < $1), 0), COALESCE((SELECT number FROM job_events "
               "ORDER BY number DESC LIMIT 1 OFFSET $2), 0))",
               "ll", before_ms, most);
    if (!status)
        number = pg_int(r, 0, 0);
    PQclear(r);
    if (status || number <= 0)
        return status;
    n = pg_run(c, e, "UPDATE job_events_floor SET number = GREATEST(number, $1)", "l",
               number);
    if (n >= 0)
        n = pg_run(c, e, "DELETE FROM job_events WHERE number <= $1", "l", number);
    return n < 0 ? n : 0;
}

static int log_trim(struct store *s, int64_t before_ms, int64_t most, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e))
        status = trim_with(t.conn, before_ms, most, e);
    return status;
}

/* ---- forgetting ------------------------------------------------------------------ */

/* The words of a job are rows that go with it. When their pages, and those of its texts,
 * are used again is the server's business (autovacuum), as are its journal and backups:
 * see docs/architecture.md. */
static int tidy(struct store *s, bool *more, struct err *e)
{
    (void)s;
    (void)e;
    *more = false;
    return 0;
}

static int scrub(struct store *s, struct err *e)
{
    (void)s;
    (void)e;
    return 0;
}

const struct store_native_ops pg_native_ops = {
    .insert_once = insert_once,
    .log_extent = log_extent,
    .log_read = log_read,
    .log_trim = log_trim,
    .shed = pg_shed,
    .erase = pg_erase,
    .tidy = tidy,
    .scrub = scrub,
};
