/* The tables are those of migrations.c and schema_native.c in PostgreSQL's words. Texts
 * sort by their bytes, as SQLite's do, whatever the language of the database. */
#include "store/pg_schema.h"
#include "store/schema.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* Long changes of large tables are given their time. */
#define MIGRATION_NS INT64_C(3600000000000)
#define CONNECT_NS   INT64_C(10000000000)

#define TEXT_        "TEXT COLLATE \"C\" NOT NULL"
#define NOW_MS       "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

static const char tables_sql[] =
    "CREATE TABLE jobs ("
    "  id TEXT COLLATE \"C\" PRIMARY KEY,"
    "  status " TEXT_ " DEFAULT 'pending' CHECK (status IN"
    "    ('pending', 'processing', 'completed', 'failed', 'cancelled')),"
    "  attempt INTEGER NOT NULL DEFAULT 0,"
    "  owner TEXT,"
    "  holder INTEGER NOT NULL DEFAULT 0," /* the process that runs it */
    "  lease_until_ms BIGINT NOT NULL DEFAULT 0,"
    "  run_after_ms BIGINT NOT NULL DEFAULT 0,"
    "  crashes INTEGER NOT NULL DEFAULT 0,"
    "  crash_frame BIGINT NOT NULL DEFAULT -1,"
    "  original_filename " TEXT_ ", filename " TEXT_ ","
    "  file_bytes BIGINT NOT NULL,"
    "  sha256 " TEXT_ ", model " TEXT_ ", language_asked " TEXT_ ", task " TEXT_ ","
    "  options " TEXT_ ","
    "  language TEXT,"
    "  language_probability DOUBLE PRECISION NOT NULL DEFAULT 0,"
    "  duration_seconds DOUBLE PRECISION NOT NULL DEFAULT 0,"
    "  next_frame BIGINT NOT NULL DEFAULT 0,"
    "  progress INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),"
    "  message " TEXT_ " DEFAULT '',"
    "  error_code TEXT, error_message TEXT,"
    "  created_ms BIGINT NOT NULL,"
    "  started_ms BIGINT NOT NULL DEFAULT 0,"
    "  completed_ms BIGINT NOT NULL DEFAULT 0,"
    "  audio_present BOOLEAN NOT NULL DEFAULT true,"
    "  caller " TEXT_ " DEFAULT '',"
    "  priority INTEGER NOT NULL DEFAULT 0,"
    "  retain_days INTEGER NOT NULL DEFAULT 0,"
    "  erased BOOLEAN NOT NULL DEFAULT false"
    ");"
    "CREATE INDEX jobs_newest ON jobs (created_ms DESC, id DESC);"
    "CREATE INDEX jobs_urgent ON jobs ((created_ms - priority * 600000::bigint), id)"
    "  WHERE status = 'pending';"
    "CREATE INDEX jobs_leases ON jobs (lease_until_ms) WHERE status = 'processing';"
    "CREATE INDEX jobs_ended ON jobs (completed_ms) WHERE completed_ms > 0;"
    "CREATE INDEX jobs_retained ON jobs (retain_days, completed_ms)"
    "  WHERE retain_days <> 0;"
    "CREATE INDEX jobs_callers ON jobs (caller, created_ms DESC, id DESC);"
    "CREATE INDEX jobs_unmeasured ON jobs (caller)"
    "  WHERE duration_seconds = 0 AND status IN ('pending', 'processing');"
    "CREATE INDEX jobs_unfinished ON jobs (model)"
    "  WHERE status IN ('pending', 'processing');"
    "CREATE TABLE job_windows ("
    "  job_id " TEXT_ " REFERENCES jobs (id) ON DELETE CASCADE,"
    "  position BIGINT NOT NULL, segments " TEXT_ ","
    "  PRIMARY KEY (job_id, position)"
    ");"
    "CREATE TABLE transcripts ("
    "  job_id TEXT COLLATE \"C\" PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,"
    "  body " TEXT_ ", json " TEXT_ ", quality TEXT"
    ");"
    "CREATE TABLE waveforms ("
    "  job_id TEXT COLLATE \"C\" PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,"
    "  peaks BYTEA NOT NULL"
    ");"
    "CREATE TABLE job_shares ("
    "  share_key TEXT COLLATE \"C\" PRIMARY KEY,"
    "  job_id " TEXT_ " REFERENCES jobs (id) ON DELETE CASCADE"
    ");"
    "CREATE INDEX job_shares_jobs ON job_shares (job_id);"
    "CREATE TABLE request_keys ("
    "  caller " TEXT_ ", key " TEXT_ ", request " TEXT_ ","
    "  job_id " TEXT_ " REFERENCES jobs (id) ON DELETE CASCADE,"
    "  created_ms BIGINT NOT NULL,"
    "  PRIMARY KEY (caller, key)"
    ");"
    "CREATE INDEX request_keys_age ON request_keys (created_ms);"
    "CREATE INDEX request_keys_jobs ON request_keys (job_id);"
    "CREATE TABLE settings (name TEXT COLLATE \"C\" PRIMARY KEY, value " TEXT_ ");"
    "CREATE TABLE uploads ("
    "  id TEXT COLLATE \"C\" PRIMARY KEY,"
    "  caller " TEXT_ ", params " TEXT_ ", metadata " TEXT_ ", concat " TEXT_ ","
    "  length BIGINT NOT NULL,"
    "  received BIGINT NOT NULL DEFAULT 0,"
    "  done BOOLEAN NOT NULL DEFAULT false,"
    "  created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL"
    ");"
    "CREATE INDEX uploads_expiry ON uploads (expires_ms);"
    /* The words of names and transcripts. PostgreSQL's vectors of words know 16383
     * places and 255 of each word, so that a long text is several rows; the end of one is
     * the beginning of the next, for phrases that lie across (see pg_search.c). */
    "CREATE TABLE job_words ("
    "  job_id " TEXT_ " REFERENCES jobs (id) ON DELETE CASCADE,"
    "  part INTEGER NOT NULL," /* 0: the name */
    "  words TSVECTOR NOT NULL,"
    "  PRIMARY KEY (job_id, part)"
    ");"
    /* What came last waits in a list that every search reads: a short one. */
    "CREATE INDEX job_words_words ON job_words USING gin (words)"
    "  WITH (gin_pending_list_limit = 256);";

/* What was claimed by whom: one process of several may have died. */
static const char others_sql[] =
    /* The last transaction of each connection, so that one whose commit was not answered
     * can be asked for: a number that the client draws, for the server's own numbers are
     * used again after a crash when nothing of theirs had reached the disk. */
    "CREATE TABLE commits ("
    "  slot BIGINT PRIMARY KEY, number BIGINT NOT NULL,"
    "  made TIMESTAMPTZ NOT NULL DEFAULT now()"
    ") WITH (fillfactor = 30);"
    "CREATE SEQUENCE processes AS INTEGER MINVALUE 1 CYCLE;"
    "CREATE TABLE job_sources ("
    "  job_id TEXT COLLATE \"C\" PRIMARY KEY,"
    "  url " TEXT_ ","
    "  fetched BOOLEAN NOT NULL DEFAULT false,"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  claimed BOOLEAN NOT NULL DEFAULT false,"
    "  holder INTEGER NOT NULL DEFAULT 0,"
    "  received BIGINT NOT NULL DEFAULT 0,"
    "  validator " TEXT_ " DEFAULT '',"
    "  next_ms BIGINT NOT NULL DEFAULT 0,"
    "  made TIMESTAMPTZ NOT NULL DEFAULT now()"
    ");"
    "CREATE INDEX job_sources_due ON job_sources (next_ms) WHERE NOT fetched;"
    "CREATE TABLE job_webhooks ("
    "  job_id TEXT COLLATE \"C\" PRIMARY KEY,"
    "  url " TEXT_ ", secret " TEXT_ ","
    "  with_transcript BOOLEAN NOT NULL,"
    "  made TIMESTAMPTZ NOT NULL DEFAULT now()"
    ");"
    "CREATE TABLE webhook_outbox ("
    "  number BIGINT GENERATED ALWAYS AS IDENTITY,"
    "  id TEXT COLLATE \"C\" PRIMARY KEY,"
    "  job_id " TEXT_ ", event " TEXT_ ","
    "  state " TEXT_ " DEFAULT 'waiting' CHECK (state IN"
    "    ('waiting', 'delivered', 'failed')),"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  claimed BOOLEAN NOT NULL DEFAULT false,"
    "  holder INTEGER NOT NULL DEFAULT 0,"
    "  next_ms BIGINT NOT NULL, created_ms BIGINT NOT NULL,"
    "  last_ms BIGINT NOT NULL DEFAULT 0,"
    "  http_status INTEGER NOT NULL DEFAULT 0,"
    "  error " TEXT_ " DEFAULT ''"
    ");"
    "CREATE INDEX webhook_outbox_due ON webhook_outbox (next_ms)"
    "  WHERE state = 'waiting';"
    "CREATE INDEX webhook_outbox_job ON webhook_outbox (job_id, created_ms);"
    "CREATE TABLE keys ("
    "  id TEXT COLLATE \"C\" PRIMARY KEY,"
    "  name " TEXT_ ", hash " TEXT_ ","
    "  scopes INTEGER NOT NULL CHECK (scopes BETWEEN 1 AND 7),"
    "  created_ms BIGINT NOT NULL,"
    "  expires_ms BIGINT NOT NULL DEFAULT 0,"
    "  revoked_ms BIGINT NOT NULL DEFAULT 0,"
    "  used_ms BIGINT NOT NULL DEFAULT 0,"
    "  minutes_per_day BIGINT NOT NULL DEFAULT 0"
    ");"
    "CREATE TABLE sessions ("
    "  id TEXT COLLATE \"C\" PRIMARY KEY,"
    "  hash " TEXT_ ","
    "  key_id " TEXT_ " REFERENCES keys (id) ON DELETE CASCADE,"
    "  created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL"
    ");"
    "CREATE INDEX sessions_of_keys ON sessions (key_id);"
    "CREATE TABLE audio_usage ("
    "  caller " TEXT_ ", day BIGINT NOT NULL," /* since 1970, UTC */
    "  seconds DOUBLE PRECISION NOT NULL,"
    "  PRIMARY KEY (caller, day)"
    ");"
    "CREATE TABLE audit ("
    "  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    "  time_ms BIGINT NOT NULL,"
    "  event " TEXT_ ", caller " TEXT_ ", client " TEXT_ ", detail " TEXT_ ""
    ");"
    "CREATE TABLE job_events ("
    "  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    "  job_id " TEXT_ ", caller " TEXT_ ","
    "  status " TEXT_ "," /* or 'deleted' */
    "  progress INTEGER NOT NULL, message " TEXT_ ","
    "  is_state BOOLEAN NOT NULL," /* false: of progress alone */
    "  time_ms BIGINT NOT NULL"
    ");"
    "CREATE INDEX job_events_progress ON job_events (job_id) WHERE NOT is_state;"
    "CREATE INDEX job_events_time ON job_events (time_ms);"
    "CREATE TABLE job_events_floor (number BIGINT NOT NULL);"
    "INSERT INTO job_events_floor VALUES (0);";

/* What a job uses up, whom to tell of its end, and what goes with it. */
static const char triggers_sql[] =
    "CREATE FUNCTION jobs_usage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    "  INSERT INTO " PG_SCHEMA ".audio_usage AS u VALUES"
    "    (NEW.caller, NEW.started_ms / 86400000, NEW.duration_seconds)"
    "    ON CONFLICT (caller, day) DO UPDATE SET seconds = u.seconds + excluded.seconds;"
    "  RETURN NULL; END $$;"
    "CREATE TRIGGER jobs_usage AFTER UPDATE OF duration_seconds ON jobs FOR EACH ROW"
    "  WHEN (OLD.duration_seconds = 0 AND NEW.duration_seconds > 0"
    "    AND NEW.caller <> '') EXECUTE FUNCTION jobs_usage();"
    "CREATE FUNCTION webhook_of_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    "  INSERT INTO " PG_SCHEMA ".webhook_outbox (id, job_id, event, next_ms, created_ms)"
    "    SELECT 'msg_' || md5(NEW.id || NEW.attempt || random() || clock_timestamp()),"
    "      NEW.id, 'job.' || NEW.status, NEW.completed_ms, NEW.completed_ms"
    "    FROM " PG_SCHEMA ".job_webhooks WHERE job_id = NEW.id;"
    "  RETURN NULL; END $$;"
    "CREATE TRIGGER webhook_of_end AFTER UPDATE OF status ON jobs FOR EACH ROW"
    "  WHEN (NEW.status IN ('completed', 'failed', 'cancelled')"
    "    AND OLD.status <> NEW.status) EXECUTE FUNCTION webhook_of_end();"
    "CREATE FUNCTION webhook_overtaken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    "  DELETE FROM " PG_SCHEMA ".webhook_outbox"
    "    WHERE job_id = NEW.id AND state = 'waiting';"
    "  RETURN NULL; END $$;"
    "CREATE TRIGGER webhook_overtaken AFTER UPDATE OF status ON jobs FOR EACH ROW"
    "  WHEN (NEW.status = 'pending' AND OLD.status IN ('failed', 'cancelled'))"
    "  EXECUTE FUNCTION webhook_overtaken();"
    "CREATE FUNCTION job_without_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    "  DELETE FROM " PG_SCHEMA ".job_sources WHERE job_id = OLD.id;"
    "  DELETE FROM " PG_SCHEMA ".job_webhooks WHERE job_id = OLD.id;"
    "  DELETE FROM " PG_SCHEMA ".webhook_outbox WHERE job_id = OLD.id;"
    "  RETURN NULL; END $$;"
    "CREATE TRIGGER job_without_row AFTER DELETE ON jobs FOR EACH ROW"
    "  EXECUTE FUNCTION job_without_row();";

/* The log. Numbers are drawn when a transaction commits, one transaction after the other,
 * so that no line is ever seen before one with a lower number: whoever has read up to a
 * number has missed nothing. It is the last thing that a transaction does, so that
 * whoever has this lock waits for no other, and only the commit itself goes on under it.
 * Other processes hear of the change at the same time. */
static const char log_sql[] =
    "CREATE FUNCTION job_log(job " PG_SCHEMA ".jobs, word text, said text, state boolean)"
    "  RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
    "  PERFORM pg_advisory_xact_lock(" PG_STRING(
        PG_LOCK_ONE) ", " PG_ONE_LOG ");"
                     "  DELETE FROM " PG_SCHEMA
                     ".job_events WHERE job_id = job.id AND NOT is_state;"
                     "  INSERT INTO " PG_SCHEMA ".job_events"
                     "    (job_id, caller, status, progress, message, is_state, time_ms) "
                     "VALUES"
                     "    (job.id, job.caller, word, job.progress, said, state, " NOW_MS
                     ");"
                     "  PERFORM pg_notify('wt_jobs', concat_ws(' ',"
                     "    coalesce(nullif(current_setting('wt.instance', true), ''), "
                     "'0'),"
                     "    job.id, word, job.attempt, job.progress, left(said, 400)));"
                     "  END $$;"
                     "CREATE FUNCTION jobs_made() RETURNS trigger LANGUAGE plpgsql AS $$ "
                     "BEGIN"
                     "  PERFORM " PG_SCHEMA
                     ".job_log(NEW, NEW.status, NEW.message, true);"
                     "  RETURN NULL; END $$;"
                     "CREATE CONSTRAINT TRIGGER jobs_made AFTER INSERT ON jobs"
                     "  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION "
                     "jobs_made();"
                     "CREATE FUNCTION jobs_changed() RETURNS trigger LANGUAGE plpgsql AS "
                     "$$ BEGIN"
                     "  PERFORM " PG_SCHEMA
                     ".job_log(NEW, NEW.status, CASE NEW.status WHEN 'failed'"
                     "    THEN coalesce(NEW.error_message, NEW.message) ELSE NEW.message "
                     "END,"
                     "    OLD.status <> NEW.status);"
                     "  RETURN NULL; END $$;"
                     "CREATE CONSTRAINT TRIGGER jobs_changed AFTER UPDATE OF status, "
                     "progress, message"
                     "  ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
                     "  WHEN (OLD.status <> NEW.status OR OLD.progress <> NEW.progress"
                     "    OR OLD.message <> NEW.message) EXECUTE FUNCTION jobs_changed();"
                     "CREATE FUNCTION jobs_gone() RETURNS trigger LANGUAGE plpgsql AS $$ "
                     "BEGIN"
                     "  PERFORM " PG_SCHEMA ".job_log(OLD, 'deleted', 'Deleted', true);"
                     "  RETURN NULL; END $$;"
                     "CREATE CONSTRAINT TRIGGER jobs_gone AFTER DELETE ON jobs"
                     "  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION "
                     "jobs_gone();";

/* Of what has ended: counts by state, the last ones of a state, failures by reason. What
 * waits is not in it, so that claims go on by the index of their order. */
static const char ended_sql[] =
    "CREATE INDEX jobs_outcomes ON jobs (status, completed_ms, error_code)"
    "  WHERE completed_ms > 0";

/* The processes that have workers; see workers.h. */
static const char workers_sql[] =
    "CREATE TABLE workers ("
    "  id TEXT COLLATE \"C\" PRIMARY KEY,"
    "  host " TEXT_ ", version " TEXT_ ", pid BIGINT NOT NULL, models " TEXT_ ","
    "  embedded BOOLEAN NOT NULL,"
    "  threads INTEGER NOT NULL, concurrency INTEGER NOT NULL, jobs INTEGER NOT NULL,"
    "  real_time_factor DOUBLE PRECISION NOT NULL,"
    "  started_ms BIGINT NOT NULL, beat_ms BIGINT NOT NULL"
    ") WITH (fillfactor = 50);";

/* Who may write what is coming in, and where it has got to. What a former version has
 * begun has no state, and may be written by it still. */
static const char sittings_sql[] =
    "ALTER TABLE uploads ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE uploads ADD COLUMN held BOOLEAN NOT NULL DEFAULT false;"
    "ALTER TABLE uploads ADD COLUMN state TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE uploads ADD COLUMN next_part INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job_sources ADD COLUMN state TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE job_sources ADD COLUMN taken TEXT NOT NULL DEFAULT '';";

/* Not logged: after a crash everybody begins anew, which is all the harm there is. */
static const char rates_sql[] =
    "CREATE UNLOGGED TABLE rates (name TEXT PRIMARY KEY, whole_us BIGINT NOT NULL);";

/* Windows that are done before one that lies before them. */
static const char ahead_sql[] =
    "CREATE TABLE job_ahead ("
    "  job_id " TEXT_ " REFERENCES jobs (id) ON DELETE CASCADE,"
    "  until_frame BIGINT NOT NULL, heard " TEXT_ ","
    "  PRIMARY KEY (job_id, until_frame)"
    ");";

/* See migrations.c. What is on hold is passed over, as if it were not there; the lock on
 * the row has been taken by then. */
static const char holds_sql[] =
    "CREATE TABLE IF NOT EXISTS job_holds ("
    "  job_id TEXT COLLATE \"C\" PRIMARY KEY REFERENCES jobs (id),"
    "  reason " TEXT_ ", placed_by " TEXT_ ", placed_ms BIGINT NOT NULL"
    ");"
    "CREATE OR REPLACE FUNCTION job_hold_keeps() RETURNS trigger LANGUAGE plpgsql AS $$ "
    "BEGIN"
    "  IF EXISTS (SELECT 1 FROM " PG_SCHEMA ".job_holds WHERE job_id = OLD.id) THEN"
    "    RETURN NULL; END IF;"
    "  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;"
    "  RETURN NEW; END $$;"
    "DROP TRIGGER IF EXISTS job_hold_keeps_job ON jobs;"
    "CREATE TRIGGER job_hold_keeps_job BEFORE DELETE ON jobs"
    "  FOR EACH ROW EXECUTE FUNCTION job_hold_keeps();"
    "DROP TRIGGER IF EXISTS job_hold_keeps_what_it_has ON jobs;"
    "CREATE TRIGGER job_hold_keeps_what_it_has"
    "  BEFORE UPDATE OF audio_present, erased ON jobs FOR EACH ROW"
    "  WHEN ((OLD.audio_present AND NOT NEW.audio_present)"
    "    OR (NEW.erased AND NOT OLD.erased)) EXECUTE FUNCTION job_hold_keeps();";

/* One step may be several scripts: C has a limit to the length of a literal. */
static const struct pg_step steps_of_this_version[] = {
    {1, "jobs, transcripts and the search", tables_sql},
    {2, "recordings from elsewhere, webhooks, keys and the log", others_sql},
    {3, "what follows from a change of a job", triggers_sql},
    {4, "the log of changes", log_sql},
    {5, "jobs by their outcome", ended_sql},
    {6, "who works", workers_sql},
    {7, "sittings of what comes in", sittings_sql},
    {8, "how often somebody came", rates_sql},
    /* From here on each step says which schema a program must know to run with it, and
     * how to go back. */
    {9, "jobs on hold", holds_sql, .oldest = 8, .down = ""},
    {10, "windows that are done early", ahead_sql, .oldest = 8,
     .down = "DROP TABLE job_ahead;"},
};

const struct pg_step *pg_steps(size_t *count)
{
    *count = ARRAY_LENGTH(steps_of_this_version);
    return steps_of_this_version;
}

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
