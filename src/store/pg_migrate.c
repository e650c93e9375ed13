/* The schema's steps, forward and back, one process at a time, and where a database
 * stands. */
#include "store/pg_schema.h"
#include "store/schema.h"

#include "base/clock.h"
#include "base/log.h"

/* Long changes of large tables are given their time. */
#define MIGRATION_NS INT64_C(3600000000000)
#define CONNECT_NS   INT64_C(10000000000)

static int ask_int(struct pg_conn *c, const char *sql, int *out, struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e, sql, "");
    if (!status)
        *out = (int)pg_int(r, 0, 0);
    PQclear(r);
    return status;
}

/* The version that the database has; 0 for a fresh one. */
static int current_version(struct pg_conn *c, int *out, struct err *e)
{
    int schemas = 0, has_table = 0, tables = 0;
    *out = 0;
    int status =
        ask_int(c, "SELECT count(*) FROM pg_namespace WHERE nspname = '" PG_SCHEMA "'",
                &schemas, e);
    if (!status && !schemas)
        return pg_script(c, "CREATE SCHEMA " PG_SCHEMA, e);
    if (!status)
        status = ask_int(c,
                         "SELECT count(*) FROM pg_tables WHERE schemaname = '" PG_SCHEMA
                         "' AND tablename = 'schema_version'",
                         &has_table, e);
    if (!status && !has_table)
        status = ask_int(
            c, "SELECT count(*) FROM pg_tables WHERE schemaname = '" PG_SCHEMA "'",
            &tables, e);
    if (!status && tables)
        return err_set(e, ERR_INVALID,
                       "the schema " PG_SCHEMA " in %s is another program's: give "
                       "DATABASE_URL a database of its own",
                       c->place->name);
    if (!status && has_table)
        status =
            ask_int(c, "SELECT coalesce(max(version), 0) FROM schema_version", out, e);
    return status;
}

static int apply_one(struct pg_conn *c, const struct pg_step *step, int64_t now_ms,
                     struct err *e)
{
    int status = pg_script(c, step->sql, e);
    if (status)
        return status;
    int n = pg_run(c, e,
                   "INSERT INTO schema_version (version, name, applied_ms) "
                   "VALUES ($1, $2, $3)",
                   "itl", step->version, step->name, now_ms);
    if (n < 0 || !step->oldest)
        return n < 0 ? n : 0;
    status = pg_script(c,
                       "ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS oldest "
                       "INTEGER NOT NULL DEFAULT 0",
                       e);
    if (status)
        return status;
    n = pg_run(c, e, "UPDATE schema_version SET oldest = $1 WHERE version = $2", "ii",
               step->oldest, step->version);
    return n < 0 ? n : 0;
}

int pg_schema_build(struct pg_conn *c, int version, int64_t now_ms, struct err *e)
{
    size_t count;
    const struct pg_step *steps = pg_steps(&count);
    int status = pg_script(c,
                           "CREATE SCHEMA " PG_SCHEMA ";"
                           "CREATE TABLE schema_version (version INTEGER PRIMARY KEY,"
                           "  name TEXT NOT NULL, applied_ms BIGINT NOT NULL)",
                           e);
    for (size_t i = 0; !status && i < count && steps[i].version <= version; i++)
        status = apply_one(c, &steps[i], now_ms, e);
    return status;
}

static int refuse_beside(struct pg_conn *c, struct err *e)
{
    int running = 0;
    int status =
        ask_int(c, "SELECT count(*) FROM " PG_RUNNING " AS running", &running, e);
    if (!status && running)
        status = err_set(e, ERR_STATE,
                         "%s is of an older version, and a service uses it: start a "
                         "service of this version first",
                         c->place->name);
    return status;
}

/* The lowest and the highest schema that processes which run now know up to. */
static int ask_running(struct pg_conn *c, int *running, int *lowest, int *highest,
                       struct err *e)
{
    PGresult *r;
    int status = pg_ask(
        c, &r, e,
        "WITH known AS (SELECT objid::bigint AS schema FROM pg_catalog.pg_locks "
        "  WHERE locktype = 'advisory' AND granted AND classid = " PG_STRING(
            PG_LOCK_KNOWS) "  AND objsubid = 2 AND database = (SELECT oid FROM "
                           "  pg_catalog.pg_database WHERE datname = "
                           "current_database())), "
                           "sums AS (SELECT (SELECT count(*) FROM " PG_RUNNING
                           " AS running) AS running, (SELECT count(*) FROM known) AS "
                           "spoken) "
                           "SELECT running, "
                           "  LEAST((SELECT min(schema) FROM known), CASE WHEN running > "
                           "spoken THEN " PG_STRING(
                               PG_SILENT_SCHEMA) " END), "
                                                 "  GREATEST((SELECT max(schema) FROM "
                                                 "known), CASE WHEN "
                                                 "running > spoken THEN " PG_STRING(
                                                     PG_SILENT_SCHEMA) " END) FROM sums",
        "");
    if (!status) {
        *running = (int)pg_int(r, 0, 0);
        *lowest = (int)pg_int(r, 0, 1);
        *highest = (int)pg_int(r, 0, 2);
    }
    PQclear(r);
    return status;
}

/* A step that those who run could not go on with waits until they have ended: the upgrade
 * to the version before it is to be finished first. */
static int refuse_under_others(struct pg_conn *c, const struct pg_step *step,
                               struct err *e)
{
    int running = 0, lowest = 0, highest = 0;
    int needs = step->oldest ? step->oldest : step->version;
    int status = ask_running(c, &running, &lowest, &highest, e);
    if (!status && running && lowest < needs)
        status = err_set(e, ERR_STATE,
                         "%s is used by %d service(s), and one of them knows the schema "
                         "only up to %d, where this version needs %d: stop it first",
                         c->place->name, running, lowest, needs);
    return status;
}

/* ---- where it stands ------------------------------------------------------------- */

static int look(struct pg_conn *c, const struct pg_step *steps, size_t count,
                struct store_schema *out, struct err *e)
{
    PGresult *r;
    *out = (struct store_schema){.known = count ? steps[count - 1].version : 0};
    int status = current_version(c, &out->version, e);
    if (status || out->version <= out->known)
        return status;
    status = pg_ask(c, &r, e,
                    "SELECT max(CASE oldest WHEN 0 THEN version ELSE oldest END) FROM "
                    "schema_version WHERE version > $1",
                    "i", out->known);
    if (!status)
        out->needs = (int)pg_int(r, 0, 0);
    PQclear(r);
    return status;
}

static int take_turn(struct pg_conn *c, struct err *e)
{
    return pg_script(
        c,
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
        "SELECT pg_advisory_xact_lock(" PG_STRING(PG_LOCK_ONE) ", " PG_ONE_MIGRATES ")",
        e);
}

static int apply_steps(struct pg_conn *c, const struct pg_step *steps, size_t count,
                       int version, int64_t now_ms, struct err *e)
{
    int status = version ? 0
                         : pg_script(c,
                                     "CREATE TABLE IF NOT EXISTS schema_version ("
                                     "  version INTEGER PRIMARY KEY,"
                                     "  name TEXT NOT NULL, applied_ms BIGINT NOT NULL)",
                                     e);
    for (size_t i = 0; !status && i < count; i++) {
        if (steps[i].version <= version)
            continue;
        status = version ? refuse_under_others(c, &steps[i], e) : 0;
        if (!status)
            status = apply_one(c, &steps[i], now_ms, e);
        if (!status && version > 0)
            log_info("database: schema %d (%s)", steps[i].version, steps[i].name);
    }
    return status;
}

static int apply(struct pg_conn *c, const struct pg_step *steps, size_t count,
                 bool beside, int64_t now_ms, struct err *e)
{
    struct store_schema now;
    int status = take_turn(c, e);
    if (!status)
        status = look(c, steps, count, &now, e);
    if (!status)
        status = store_schema_judge(&now, c->place->name, e);
    if (!status && now.version && now.version < now.known && beside)
        status = refuse_beside(c, e);
    return status ? status : apply_steps(c, steps, count, now.version, now_ms, e);
}

static int end(struct pg_conn *c, int status, struct err *e)
{
    int ended =
        c->lost ? 0 : pg_script(c, status ? "ROLLBACK" : "COMMIT", status ? NULL : e);
    return status ? status : ended;
}

int pg_migrate(struct pg_conn *c, const struct pg_step *steps, size_t count, bool beside,
               int64_t now_ms, struct err *e)
{
    int64_t limit_ns = c->limit_ns;
    c->limit_ns = MIGRATION_NS;
    int status = pg_script(c, "BEGIN", e);
    if (!status)
        status = end(c, apply(c, steps, count, beside, now_ms, e), e);
    c->limit_ns = limit_ns;
    return status;
}

/* ---- moving it ------------------------------------------------------------------- */

static int undo_steps(struct pg_conn *c, const struct pg_step *steps, size_t count,
                      int version, int to, struct err *e)
{
    int status = 0;
    for (size_t i = count; !status && i-- > 0;) {
        const struct pg_step *step = &steps[i];
        if (step->version <= to || step->version > version)
            continue;
        if (!step->down)
            return store_schema_no_way_back(step->version, e);
        status = *step->down ? pg_script(c, step->down, e) : 0;
        if (!status) {
            int n = pg_run(c, e, "DELETE FROM schema_version WHERE version = $1", "i",
                           step->version);
            status = n < 0 ? n : 0;
        }
        if (!status)
            log_info("database: schema %d (%s) is taken back", step->version, step->name);
    }
    return status;
}

static int undo(struct pg_conn *c, const struct pg_step *steps, size_t count, int version,
                int to, struct err *e)
{
    int running = 0, lowest = 0, highest = 0;
    if (version > steps[count - 1].version)
        return store_schema_unknown(version, steps[count - 1].version, e);
    int status = ask_running(c, &running, &lowest, &highest, e);
    if (!status && running && highest > to)
        status = err_set(e, ERR_STATE,
                         "%s is used by a service that needs schema %d: stop those of "
                         "this version first",
                         c->place->name, highest);
    return status ? status : undo_steps(c, steps, count, version, to, e);
}

static int move_to(struct pg_conn *c, const struct pg_step *steps, size_t count, int to,
                   struct err *e)
{
    struct store_schema now;
    size_t upto = 0;
    int status = take_turn(c, e);
    if (!status)
        status = look(c, steps, count, &now, e);
    if (status)
        return status;
    while (upto < count && steps[upto].version <= to)
        upto++;
    if (!upto || steps[upto - 1].version != to)
        return err_set(e, ERR_INVALID, "there is no schema %d: the newest is %d", to,
                       now.known);
    if (to < now.version)
        return undo(c, steps, count, now.version, to, e);
    return apply_steps(c, steps, upto, now.version, clock_now_ms(), e);
}

int pg_move(struct pg_conn *c, const struct pg_step *steps, size_t count, int to,
            struct err *e)
{
    int64_t limit_ns = c->limit_ns;
    c->limit_ns = MIGRATION_NS;
    int status = pg_script(c, "BEGIN", e);
    if (!status)
        status = end(c, move_to(c, steps, count, to, e), e);
    c->limit_ns = limit_ns;
    return status;
}

/* ---- for `migrate` --------------------------------------------------------------- */

static int open_alone(struct pg_place *place, struct pg_conn *c, const char *url,
                      struct err *e)
{
    int status = pg_place_init(place, url, e);
    if (!status)
        status = pg_conn_open(c, place, 0, clock_monotonic_ns() + CONNECT_NS, e);
    return status;
}

/* Within a transaction that is rolled back: looking changes nothing. */
int pg_schema_look(const char *url, struct store_schema *out, struct err *e)
{
    size_t count;
    const struct pg_step *steps = pg_steps(&count);
    struct pg_place place = {0};
    struct pg_conn c = {0};
    int lowest, highest, status = open_alone(&place, &c, url, e);
    if (!status)
        status = pg_script(&c, "BEGIN", e);
    if (!status)
        status = look(&c, steps, count, out, e);
    if (!status)
        status = ask_running(&c, &out->running, &lowest, &highest, e);
    pg_conn_close(&c);
    pg_place_release(&place);
    return status;
}

int pg_schema_move(const char *url, int to, struct err *e)
{
    size_t count;
    const struct pg_step *steps = pg_steps(&count);
    struct pg_place place = {0};
    struct pg_conn c = {0};
    int status = open_alone(&place, &c, url, e);
    if (!status)
        status = pg_move(&c, steps, count, to, e);
    pg_conn_close(&c);
    pg_place_release(&place);
    return status;
}
