/* Copies of a PostgreSQL database: see snapshot.h. One transaction that only reads, in
 * REPEATABLE READ, sees one moment, and the server writes each table of it as text.
 *
 * Not by pg_dump: it copies whole tables, and jobs that leave nothing behind must not be
 * in a copy; and it has to be here, and as new as the server. What the tables are, the
 * steps of the schema say (pg_schema.c), so that rows are all that is needed:
 *
 *     table NAME COLUMN,COLUMN\n   rows, as COPY gives them   \.\n
 *     sequence NAME NEXT\n
 *     end\n
 */
#include "store/snapshot_ops.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/hold.h"
#include "store/pg_schema.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_NS INT64_C(10000000000)
/* A server takes a moment to see that whoever held the lock was killed. */
#define LOCK_TRIES  30
#define LOCK_US     100000

#define SNAPSHOT(s) ((struct pg_snapshot *)(s))

struct pg_snapshot {
    struct snapshot base;
    struct pg_place place;
    int schema;
    pthread_mutex_t lock; /* of the side: */
    struct pg_conn reader, side;
};

static void close_snapshot(struct snapshot *base)
{
    struct pg_snapshot *s = SNAPSHOT(base);
    pg_conn_close(&s->reader);
    pg_conn_close(&s->side);
    pg_place_release(&s->place);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int ask_int(struct pg_conn *c, const char *sql, int64_t *out, struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e, sql, "");
    if (!status)
        *out = pg_int(r, 0, 0);
    PQclear(r);
    return status;
}

static int take_lock(struct pg_snapshot *s, struct err *e)
{
    PGresult *r;
    int status = 0;
    bool mine = false;
    for (int i = 0; !status && !mine && i < LOCK_TRIES; i++) {
        if (i)
            usleep(LOCK_US);
        status = pg_ask(
            &s->side, &r, e,
            "SELECT pg_try_advisory_lock(" PG_STRING(PG_LOCK_ONE) ", " PG_ONE_BACKUP ")",
            "");
        mine = !status && pg_bool(r, 0, 0);
        PQclear(r);
    }
    return status || mine ? status
                          : err_set(e, ERR_STATE,
                                    "another backup of %s is running: let it end first",
                                    s->place.name);
}

static int judge(struct pg_snapshot *s, struct err *e)
{
    int64_t tables = 0, schema = 0;
    int status = ask_int(&s->side,
                         "SELECT count(*) FROM pg_tables WHERE schemaname = '" PG_SCHEMA
                         "' AND tablename IN ('schema_version', 'jobs')",
                         &tables, e);
    if (!status && tables < 2)
        return err_set(e, ERR_NOT_FOUND, "%s has no tables of this program",
                       s->place.name);
    if (!status)
        status = ask_int(&s->side, "SELECT max(version) FROM schema_version", &schema, e);
    s->schema = (int)schema;
    if (!status && schema < SNAPSHOT_OLDEST_PG)
        status = err_set(e, ERR_UNSUPPORTED,
                         "%s is of an older version: copy it with that one, or start a "
                         "service of this version first",
                         s->place.name);
    if (!status && schema > snapshot_newest_schema("postgresql"))
        status = err_set(e, ERR_UNSUPPORTED,
                         "%s was written by a newer version of this program: use that "
                         "one",
                         s->place.name);
    return status;
}

/* ---- settings -------------------------------------------------------------------- */

static int setting(struct snapshot *base, const char *name, struct buf *value,
                   struct err *e)
{
    struct pg_snapshot *s = SNAPSHOT(base);
    PGresult *r;
    pthread_mutex_lock(&s->lock);
    int status =
        pg_ask(&s->side, &r, e, "SELECT value FROM settings WHERE name = $1", "t", name);
    if (!status && !PQntuples(r))
        status = err_set(e, ERR_NOT_FOUND, "%s was never set", name);
    if (!status)
        buf_str(value, pg_text(r, 0, 0));
    PQclear(r);
    pthread_mutex_unlock(&s->lock);
    return status;
}

static int set(struct snapshot *base, const char *name, const char *value, struct err *e)
{
    struct pg_snapshot *s = SNAPSHOT(base);
    pthread_mutex_lock(&s->lock);
    int n = value
                ? pg_run(&s->side, e,
                         "INSERT INTO settings (name, value) VALUES ($1, $2) "
                         "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                         "tt", name, value)
                : pg_run(&s->side, e, "DELETE FROM settings WHERE name = $1", "t", name);
    pthread_mutex_unlock(&s->lock);
    return n < 0 ? n : 0;
}

#define SERVER_MS "(extract(epoch from clock_timestamp()) * 1000)::bigint"

static int hold(struct snapshot *base, bool first, struct err *e)
{
    struct pg_snapshot *s = SNAPSHOT(base);
    pthread_mutex_lock(&s->lock);
    int n = first ? pg_run(&s->side, e,
                           "INSERT INTO settings (name, value) "
                           "VALUES ('" STORE_HOLD "', (" SERVER_MS " + $1)::text) "
                           "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                           "l", STORE_HOLD_MS)
                  : pg_run(&s->side, e,
                           "UPDATE settings SET value = (" SERVER_MS " + $1)::text "
                           "WHERE name = '" STORE_HOLD "' AND value::bigint > " SERVER_MS,
                           "l", STORE_HOLD_MS);
    pthread_mutex_unlock(&s->lock);
    return n ? n < 0 ? n : 0
             : err_set(e, ERR_TIMEOUT,
                       "the copy took a pause of more than a minute: begin it again");
}

/* ---- the moment ------------------------------------------------------------------ */

static int list_files(struct pg_snapshot *s, struct snapshot_info *out, struct err *e)
{
    size_t capacity = 0;
    PGresult *r;
    int status = pg_ask(&s->reader, &r, e,
                        "SELECT id, sha256, file_bytes FROM jobs WHERE " SNAPSHOT_FILES
                        " ORDER BY id",
                        "");
    for (int i = 0; !status && i < PQntuples(r); i++)
        status = snapshot_add_file(out, &capacity, pg_text(r, i, 0), pg_text(r, i, 1),
                                   pg_int(r, i, 2), e);
    PQclear(r);
    return status;
}

static int take(struct snapshot *base, struct snapshot_info *out, struct err *e)
{
    struct pg_snapshot *s = SNAPSHOT(base);
    struct snapshot_counts *n = &out->counts;
    out->kind = "postgresql";
    out->schema = s->schema;
    int status = pg_script(&s->reader,
                           "SET statement_timeout = 0;"
                           "SET idle_in_transaction_session_timeout = 0;"
                           "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                           e);
    if (!status) /* the first question makes the moment */
        status = ask_int(&s->reader, "SELECT " SERVER_MS, &out->time_ms, e);
    if (!status)
        status = ask_int(&s->reader, "SELECT count(*) FROM jobs WHERE " SNAPSHOT_KEPT,
                         &n->jobs, e);
    if (!status)
        status = ask_int(&s->reader,
                         "SELECT count(*) FROM transcripts JOIN jobs ON id = job_id "
                         "WHERE " SNAPSHOT_KEPT,
                         &n->transcripts, e);
    if (!status)
        status = ask_int(&s->reader, "SELECT count(*) FROM keys", &n->keys, e);
    return status ? status : list_files(s, out, e);
}

/* ---- its bytes ------------------------------------------------------------------- */

static int refuse(struct pg_snapshot *s, struct err *e)
{
    char why[256];
    pg_one_line(PQerrorMessage(s->reader.pg), why, sizeof why);
    return err_set(e, ERR_IO, "%s could not be read: %s", s->place.name, why);
}

/* What goes of a table. Rows of no job, and of jobs that are gone, are kept. */
static const char *which_rows(const char *table, bool of_jobs)
{
    if (!strcmp(table, "jobs"))
        return SNAPSHOT_KEPT;
    if (!strcmp(table, "uploads"))
        return "done";
    if (!strcmp(table, "settings"))
        return "name NOT LIKE 'backup\\_%'";
    return of_jobs ? "NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = job_id AND NOT "
                     "j." SNAPSHOT_KEPT ")"
                   : "true";
}

static int pour_table(struct pg_snapshot *s, const char *table, const char *columns,
                      bool of_jobs, blob_data_fn data, void *arg, struct err *e)
{
    struct buf sql;
    buf_init(&sql, 65536);
    buf_printf(&sql, "table %s %s\n", table, columns);
    int status = data(arg, sql.data, sql.length, e);
    buf_reset(&sql);
    buf_printf(&sql, "COPY (SELECT %s FROM %s WHERE %s) TO STDOUT", columns, table,
               which_rows(table, of_jobs));
    PGresult *r = status ? NULL : PQexec(s->reader.pg, buf_cstr(&sql));
    if (!status && PQresultStatus(r) != PGRES_COPY_OUT)
        status = refuse(s, e);
    PQclear(r);
    buf_release(&sql);
    char *row = NULL;
    int n = 0;
    while (!status && (n = PQgetCopyData(s->reader.pg, &row, 0)) > 0) {
        status = data(arg, row, (size_t)n, e);
        PQfreemem(row);
    }
    if (status)
        return status;
    r = n == -1 ? PQgetResult(s->reader.pg) : NULL;
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        status = refuse(s, e);
    PQclear(r);
    while ((r = PQgetResult(s->reader.pg)))
        PQclear(r);
    return status ? status : data(arg, "\\.\n", 3, e);
}

static int pour_tables(struct pg_snapshot *s, blob_data_fn data, void *arg, struct err *e)
{
    PGresult *r;
    int status = pg_ask(
        &s->reader, &r, e,
        "SELECT c.relname::text, string_agg(a.attname::text, ',' ORDER BY a.attnum), "
        "bool_or(a.attname = 'job_id') FROM pg_class c "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "AND NOT a.attisdropped AND a.attgenerated = '' "
        "WHERE c.relnamespace = '" PG_SCHEMA "'::regnamespace AND c.relkind = 'r' "
        "AND c.relpersistence = 'p' AND c.relname NOT IN "
        "('schema_version', 'commits', 'workers') GROUP BY c.relname "
        /* what others refer to comes first */
        "ORDER BY c.relname NOT IN ('jobs', 'keys'), c.relname",
        "");
    for (int i = 0; !status && i < PQntuples(r); i++)
        status = pour_table(s, pg_text(r, i, 0), pg_text(r, i, 1), pg_bool(r, i, 2), data,
                            arg, e);
    PQclear(r);
    return status;
}

/* Sequences know no moment; that they are ahead of it does no harm. */
static int pour_sequences(struct pg_snapshot *s, blob_data_fn data, void *arg,
                          struct err *e)
{
    char line[128];
    PGresult *r;
    int status = pg_ask(&s->reader, &r, e,
                        "SELECT sequencename::text, coalesce(last_value + 1, 1)::bigint "
                        "FROM pg_sequences WHERE schemaname = '" PG_SCHEMA "' ORDER BY 1",
                        "");
    for (int i = 0; !status && i < PQntuples(r); i++) {
        int n = snprintf(line, sizeof line, "sequence %.63s %" PRId64 "\n",
                         pg_text(r, i, 0), pg_int(r, i, 1));
        status = data(arg, line, (size_t)n, e);
    }
    PQclear(r);
    return status;
}

static int pour(struct snapshot *base, const char *scratch, blob_data_fn data, void *arg,
                struct err *e)
{
    struct pg_snapshot *s = SNAPSHOT(base);
    (void)scratch;
    s->reader.limit_ns = INT64_MAX / 2;
    if (PQsetnonblocking(s->reader.pg, 0))
        return refuse(s, e);
    int status = pour_tables(s, data, arg, e);
    if (!status)
        status = pour_sequences(s, data, arg, e);
    return status ? status : data(arg, "end\n", 4, e);
}

static const struct snapshot_ops ops = {
    .close = close_snapshot,
    .hold = hold,
    .take = take,
    .pour = pour,
    .setting = setting,
    .set = set,
};

int pg_snapshot_open(struct snapshot **out, const char *url, struct err *e)
{
    struct pg_snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->base.ops = &ops;
    pthread_mutex_init(&s->lock, NULL);
    int64_t until_ns = clock_monotonic_ns() + CONNECT_NS;
    int status = pg_place_init(&s->place, url, e);
    if (!status)
        status = pg_conn_open(&s->side, &s->place, 0, until_ns, e);
    if (!status)
        status = pg_conn_open(&s->reader, &s->place, 0, until_ns, e);
    if (!status)
        status = judge(s, e);
    if (!status)
        status = take_lock(s, e);
    if (status)
        close_snapshot(&s->base);
    else
        *out = &s->base;
    return status;
}
