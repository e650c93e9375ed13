/* A PostgreSQL database from a copy (pg_snapshot.c has its form): one transaction, so
 * that all of it is there or nothing. What was there before keeps its tables, in a schema
 * of another name. A look at a copy is the same transaction, rolled back: nobody else
 * ever sees it. */
#include "store/snapshot_ops.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/pg_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_NS     INT64_C(10000000000)
#define LINE_MAX_BYTES 65536
#define REBUILD(r)     ((struct pg_rebuild *)(r))

struct pg_rebuild {
    struct rebuild base;
    struct pg_place place;
    struct pg_conn conn;
    char aside[64]; /* the name that a schema which was there gets; "": none was */
    enum { LINE, ROWS, ROWS_END, ENDED } state;
    bool fresh, slash; /* of ROWS: at the beginning of a line; and it begins with \ */
    char table[64];    /* of ROWS */
    struct buf line;   /* of LINE */
};

static int refuse(struct pg_rebuild *r, int code, struct err *e)
{
    char why[256];
    pg_one_line(PQerrorMessage(r->conn.pg), why, sizeof why);
    return err_set(e, code, "%s does not take the copy: %s", r->place.name, why);
}

static int run(struct pg_rebuild *r, struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int run(struct pg_rebuild *r, struct err *e, const char *format, ...)
{
    char sql[LINE_MAX_BYTES + 256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof sql)
        return err_set(e, ERR_CORRUPT, "the copy of the database has a line too long");
    return pg_script(&r->conn, sql, e);
}

/* ---- reading --------------------------------------------------------------------- */

/* Names become a part of statements: only what ours are made of. */
static bool is_name(const char *text, const char *more)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    for (const char *p = text; *p; p++)
        if (!strchr(letters, *p) && !strchr(more, *p))
            return false;
    return *text != '\0';
}

static int damaged(struct err *e)
{
    return err_set(e, ERR_CORRUPT, "the copy of the database is not in its form");
}

static int begin_table(struct pg_rebuild *r, char *words, struct err *e)
{
    char *columns = strchr(words, ' ');
    if (!columns)
        return damaged(e);
    *columns++ = '\0';
    if (!is_name(words, "") || strlen(words) >= sizeof r->table || !is_name(columns, ","))
        return damaged(e);
    (void)snprintf(r->table, sizeof r->table, "%s", words);
    int status = run(r, e, "ALTER TABLE " PG_SCHEMA ".%s DISABLE TRIGGER USER", r->table);
    if (status)
        return status;
    char sql[LINE_MAX_BYTES + 128];
    (void)snprintf(sql, sizeof sql, "COPY " PG_SCHEMA ".%s (%s) FROM STDIN", r->table,
                   columns);
    (void)PQsetnonblocking(r->conn.pg, 0);
    PGresult *result = PQexec(r->conn.pg, sql);
    if (PQresultStatus(result) != PGRES_COPY_IN)
        status = refuse(r, ERR_CORRUPT, e);
    PQclear(result);
    r->state = ROWS;
    r->fresh = true;
    r->slash = false;
    return status;
}

static int end_table(struct pg_rebuild *r, struct err *e)
{
    int status = PQputCopyEnd(r->conn.pg, NULL) == 1 ? 0 : refuse(r, ERR_IO, e);
    PGresult *result = status ? NULL : PQgetResult(r->conn.pg);
    if (!status && PQresultStatus(result) != PGRES_COMMAND_OK)
        status = refuse(r, ERR_CORRUPT, e);
    PQclear(result);
    while (!status && (result = PQgetResult(r->conn.pg)))
        PQclear(result);
    (void)PQsetnonblocking(r->conn.pg, 1);
    return status
               ? status
               : run(r, e, "ALTER TABLE " PG_SCHEMA ".%s ENABLE TRIGGER USER", r->table);
}

static int set_sequence(struct pg_rebuild *r, char *words, struct err *e)
{
    char *number = strchr(words, ' '), *end = NULL;
    if (!number)
        return damaged(e);
    *number++ = '\0';
    errno = 0;
    long long next = strtoll(number, &end, 10);
    if (!is_name(words, "") || end == number || *end || errno || next < 1)
        return damaged(e);
    return run(r, e, "SELECT setval('" PG_SCHEMA ".%s', %lld, false)", words, next);
}

static int take_line(struct pg_rebuild *r, char *line, struct err *e)
{
    static const char table[] = "table ", sequence[] = "sequence ";
    if (!strcmp(line, "end")) {
        r->state = ENDED;
        return 0;
    }
    if (!strncmp(line, table, strlen(table)))
        return begin_table(r, line + strlen(table), e);
    if (!strncmp(line, sequence, strlen(sequence)))
        return set_sequence(r, line + strlen(sequence), e);
    return damaged(e);
}

static int read_line(struct pg_rebuild *r, const char **p, size_t *n, struct err *e)
{
    const char *end = memchr(*p, '\n', *n);
    size_t length = end ? (size_t)(end - *p) : *n;
    buf_add(&r->line, *p, length);
    *p += length + (end != NULL);
    *n -= length + (end != NULL);
    if (buf_failed(&r->line) || memchr(buf_cstr(&r->line), '\0', r->line.length))
        return damaged(e);
    if (!end)
        return 0;
    char *line = buf_take(&r->line);
    int status = line ? take_line(r, line, e) : err_set(e, ERR_NOMEM, "out of memory");
    free(line);
    return status;
}

static int put(struct pg_rebuild *r, const char *p, size_t n, struct err *e)
{
    return PQputCopyData(r->conn.pg, p, (int)n) == 1 ? 0 : refuse(r, ERR_IO, e);
}

/* A row that begins with "\." is none, but the end of them. */
static int read_rows(struct pg_rebuild *r, const char **p, size_t *n, struct err *e)
{
    if (r->fresh && !r->slash && **p == '\\') {
        r->slash = true;
        ++*p;
        --*n;
        return 0;
    }
    if (r->slash) {
        r->slash = false;
        if (**p == '.') {
            r->state = ROWS_END;
            ++*p;
            --*n;
            return 0;
        }
        r->fresh = false;
        return put(r, "\\", 1, e);
    }
    const char *end = memchr(*p, '\n', *n);
    size_t length = end ? (size_t)(end - *p) + 1 : *n;
    int status = put(r, *p, length, e);
    r->fresh = end != NULL;
    *p += length;
    *n -= length;
    return status;
}

static int read_rows_end(struct pg_rebuild *r, const char **p, size_t *n, struct err *e)
{
    if (**p != '\n')
        return damaged(e);
    ++*p;
    --*n;
    r->state = LINE;
    return end_table(r, e);
}

static int write_some(struct rebuild *base, const void *bytes, size_t length,
                      struct err *e)
{
    struct pg_rebuild *r = REBUILD(base);
    const char *p = bytes;
    int status = 0;
    while (!status && length)
        status = r->state == LINE       ? read_line(r, &p, &length, e)
                 : r->state == ROWS     ? read_rows(r, &p, &length, e)
                 : r->state == ROWS_END ? read_rows_end(r, &p, &length, e)
                                        : damaged(e);
    return status;
}

/* ---- the end --------------------------------------------------------------------- */

static int ask_int(struct pg_rebuild *r, const char *sql, int64_t *out, struct err *e)
{
    PGresult *result;
    int status = pg_ask(&r->conn, &result, e, sql, "");
    if (!status)
        *out = pg_int(result, 0, 0);
    PQclear(result);
    return status;
}

static int try_transcript(struct pg_rebuild *r, struct err *e)
{
    PGresult *result;
    int status = pg_ask(&r->conn, &result, e,
                        "SELECT json FROM transcripts ORDER BY job_id DESC LIMIT 1", "");
    if (!status && PQntuples(result)) {
        json_t *o = json_loads(pg_text(result, 0, 0), 0, NULL);
        if (!json_is_object(o))
            status = err_set(e, ERR_CORRUPT, "a transcript in the copy cannot be read");
        json_decref(o);
    }
    PQclear(result);
    return status;
}

static int check(struct rebuild *base, struct snapshot_counts *n, struct err *e)
{
    struct pg_rebuild *r = REBUILD(base);
    if (r->state != ENDED)
        return err_set(e, ERR_CORRUPT, "the copy of the database ends too early");
    int status = ask_int(r, "SELECT count(*) FROM jobs", &n->jobs, e);
    if (!status)
        status = ask_int(r, "SELECT count(*) FROM transcripts", &n->transcripts, e);
    if (!status)
        status = ask_int(r, "SELECT count(*) FROM keys", &n->keys, e);
    return status ? status : try_transcript(r, e);
}

static int commit(struct rebuild *base, struct buf *aside, struct err *e)
{
    struct pg_rebuild *r = REBUILD(base);
    int status = run(r, e,
                     "UPDATE job_sources SET received = 0, validator = '', state = '', "
                     "taken = '' WHERE NOT fetched;"
                     "UPDATE webhook_outbox SET state = 'failed', error = "
                     "'not sent: it was restored from an older copy' "
                     "WHERE state = 'waiting' AND created_ms < %" PRId64,
                     clock_wall_ms() - REBUILD_NOTICES_MS);
    if (!status)
        status = pg_script(&r->conn, "COMMIT", e);
    else
        return status;
    if (status && r->conn.lost)
        return err_set(e, ERR_UNSURE,
                       "%s broke off at the last step, and does not say whether the copy "
                       "is there now: look, and run it again if it is not",
                       r->place.name);
    if (!status && r->aside[0])
        buf_printf(aside, "the schema %s in %s", r->aside, r->place.name);
    return status;
}

static void close_rebuild(struct rebuild *base)
{
    struct pg_rebuild *r = REBUILD(base);
    pg_conn_close(&r->conn); /* which rolls back what was not committed */
    pg_place_release(&r->place);
    buf_release(&r->line);
    free(r);
}

/* ---- the beginning --------------------------------------------------------------- */

static int connect_to(struct pg_rebuild *r, const char *url, struct err *e)
{
    int status = pg_place_init(&r->place, url, e);
    if (!status)
        status =
            pg_conn_open(&r->conn, &r->place, 0, clock_monotonic_ns() + CONNECT_NS, e);
    return status;
}

static int is_there(struct pg_rebuild *r, bool *there, struct err *e)
{
    int64_t schemas = 0;
    int status =
        ask_int(r, "SELECT count(*) FROM pg_namespace WHERE nspname = '" PG_SCHEMA "'",
                &schemas, e);
    *there = schemas > 0;
    return status;
}

static int nobody_runs(struct pg_rebuild *r, struct err *e)
{
    int64_t running = 0;
    int status =
        ask_int(r, "SELECT count(*) FROM " PG_RUNNING " AS running", &running, e);
    return status ? status
           : running
               ? err_set(e, ERR_STATE,
                         "%s is used by %lld running service(s) or worker(s): stop them "
                         "first",
                         r->place.name, (long long)running)
               : 0;
}

int pg_rebuild_look(const char *url, bool *there, struct err *e)
{
    struct pg_rebuild r = {0};
    int status = connect_to(&r, url, e);
    if (!status)
        status = nobody_runs(&r, e);
    if (!status)
        status = is_there(&r, there, e);
    pg_conn_close(&r.conn);
    pg_place_release(&r.place);
    return status;
}

/* Services that begin meanwhile wait at the lock. */
static int begin(struct pg_rebuild *r, int schema, bool scratch, struct err *e)
{
    bool there = false;
    int64_t now_ms = clock_wall_ms();
    r->conn.limit_ns = INT64_MAX / 2;
    int status = pg_script(&r->conn,
                           "SET statement_timeout = 0; SET lock_timeout = 0;"
                           "SET idle_in_transaction_session_timeout = 0; BEGIN",
                           e);
    if (!status && !scratch)
        status = pg_script(&r->conn,
                           "SELECT pg_advisory_xact_lock(" PG_STRING(
                               PG_LOCK_ONE) ", " PG_ONE_MIGRATES ")",
                           e);
    if (!status && !scratch)
        status = nobody_runs(r, e);
    if (!status)
        status = is_there(r, &there, e);
    if (!status && there) {
        (void)snprintf(r->aside, sizeof r->aside, PG_SCHEMA "_before_%" PRId64, now_ms);
        status = run(r, e, "ALTER SCHEMA " PG_SCHEMA " RENAME TO %s", r->aside);
    }
    return status ? status : pg_schema_build(&r->conn, schema, now_ms, e);
}

static const struct rebuild_ops ops = {
    .write = write_some,
    .check = check,
    .commit = commit,
    .close = close_rebuild,
};

int pg_rebuild_open(struct rebuild **out, const char *url, int schema, bool scratch,
                    struct err *e)
{
    struct pg_rebuild *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "out of memory");
    r->base.ops = &ops;
    buf_init(&r->line, LINE_MAX_BYTES);
    int status = connect_to(r, url, e);
    if (!status)
        status = begin(r, schema, scratch, e);
    if (status)
        close_rebuild(&r->base);
    else
        *out = &r->base;
    return status;
}
