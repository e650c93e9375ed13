#include "store/migrations.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/schema_native.h"

static const char jobs_sql[] =
    "CREATE TABLE jobs ("
    "  id TEXT PRIMARY KEY,"
    "  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN"
    "    ('pending', 'processing', 'completed', 'failed', 'cancelled')),"
    "  attempt INTEGER NOT NULL DEFAULT 0,"
    "  owner TEXT,"
    "  lease_until_ms INTEGER NOT NULL DEFAULT 0,"
    "  run_after_ms INTEGER NOT NULL DEFAULT 0,"
    "  crashes INTEGER NOT NULL DEFAULT 0,"
    "  crash_frame INTEGER NOT NULL DEFAULT -1,"
    "  original_filename TEXT NOT NULL,"
    "  filename TEXT NOT NULL,"
    "  file_bytes INTEGER NOT NULL,"
    "  sha256 TEXT NOT NULL,"
    "  model TEXT NOT NULL,"
    "  language_asked TEXT NOT NULL,"
    "  task TEXT NOT NULL,"
    "  options TEXT NOT NULL,"
    "  language TEXT,"
    "  language_probability REAL NOT NULL DEFAULT 0,"
    "  duration_seconds REAL NOT NULL DEFAULT 0,"
    "  next_frame INTEGER NOT NULL DEFAULT 0,"
    "  progress INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),"
    "  message TEXT NOT NULL DEFAULT '',"
    "  error_code TEXT,"
    "  error_message TEXT,"
    "  created_ms INTEGER NOT NULL,"
    "  started_ms INTEGER NOT NULL DEFAULT 0,"
    "  completed_ms INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE INDEX jobs_newest ON jobs (created_ms DESC, id DESC);"
    "CREATE INDEX jobs_queue ON jobs (created_ms, id) WHERE status = 'pending';"
    "CREATE INDEX jobs_leases ON jobs (lease_until_ms) WHERE status = 'processing';"
    /* What finished windows said, while the job is not finished. */
    "CREATE TABLE job_windows ("
    "  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,"
    "  position INTEGER NOT NULL,"
    "  segments TEXT NOT NULL,"
    "  PRIMARY KEY (job_id, position)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE transcripts ("
    "  job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,"
    "  body TEXT NOT NULL,"
    "  json TEXT NOT NULL"
    ") STRICT;";

static const char retention_sql[] =
    "ALTER TABLE jobs ADD COLUMN audio_present INTEGER NOT NULL DEFAULT 1;"
    "CREATE INDEX jobs_ended ON jobs (completed_ms) WHERE completed_ms > 0;";

/* As an object of JSON, beside the transcript that has it too: it is asked for alone. */
static const char quality_sql[] = "ALTER TABLE transcripts ADD COLUMN quality TEXT;";

static const char callers_sql[] =
    "ALTER TABLE jobs ADD COLUMN caller TEXT NOT NULL DEFAULT '';"
    "CREATE INDEX jobs_callers ON jobs (caller, created_ms DESC, id DESC);";

/* What a job uses up is charged when its length becomes known, once, and to the day that
 * it began on: a trigger, so that no way of writing the length forgets it. */
static const char keys_sql[] =
    "CREATE TABLE keys ("
    "  id TEXT PRIMARY KEY,"
    "  name TEXT NOT NULL,"
    "  hash TEXT NOT NULL,"
    "  scopes INTEGER NOT NULL CHECK (scopes BETWEEN 1 AND 7),"
    "  created_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL DEFAULT 0,"
    "  revoked_ms INTEGER NOT NULL DEFAULT 0,"
    "  used_ms INTEGER NOT NULL DEFAULT 0,"
    "  minutes_per_day INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE TABLE sessions ("
    "  id TEXT PRIMARY KEY,"
    "  hash TEXT NOT NULL,"
    "  key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,"
    "  created_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX sessions_of_keys ON sessions (key_id);"
    "CREATE TABLE audio_usage ("
    "  caller TEXT NOT NULL,"
    "  day INTEGER NOT NULL," /* since 1970, UTC */
    "  seconds REAL NOT NULL,"
    "  PRIMARY KEY (caller, day)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER jobs_usage AFTER UPDATE OF duration_seconds ON jobs "
    "WHEN OLD.duration_seconds = 0 AND NEW.duration_seconds > 0 AND NEW.caller <> '' "
    "BEGIN"
    "  INSERT INTO audio_usage VALUES"
    "    (NEW.caller, NEW.started_ms / 86400000, NEW.duration_seconds)"
    "    ON CONFLICT (caller, day) DO UPDATE SET seconds = seconds + excluded.seconds;"
    "END;"
    "CREATE INDEX jobs_unmeasured ON jobs (caller) "
    "WHERE duration_seconds = 0 AND status IN ('pending', 'processing');"
    "CREATE TABLE audit ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  time_ms INTEGER NOT NULL,"
    "  event TEXT NOT NULL,"
    "  caller TEXT NOT NULL,"
    "  client TEXT NOT NULL,"
    "  detail TEXT NOT NULL"
    ") STRICT;";
/* Uploads that come in several requests: `received` bytes are durable in the part. */
static const char uploads_sql[] =
    "CREATE TABLE uploads ("
    "  id TEXT PRIMARY KEY,"
    "  caller TEXT NOT NULL,"
    "  params TEXT NOT NULL,"    /* of the job that it becomes: an object of texts */
    "  metadata TEXT NOT NULL,"  /* as it was sent */
    "  length INTEGER NOT NULL," /* -1: not said yet */
    "  received INTEGER NOT NULL DEFAULT 0,"
    "  done INTEGER NOT NULL DEFAULT 0,"
    "  concat TEXT NOT NULL," /* Upload-Concat; '': neither part nor joined */
    "  created_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX uploads_expiry ON uploads (expires_ms);";

/* Rows of job_sources and job_webhooks are written before the row of their job, so that
 * no job is without them; a trigger takes them away with it. The same way the end of a
 * job and the notice of it are one transaction, whoever ends it. */
static const char webhooks_sql[] =
    "CREATE TABLE job_sources ("
    "  job_id TEXT PRIMARY KEY,"
    "  url TEXT NOT NULL,"
    "  fetched INTEGER NOT NULL DEFAULT 0,"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  claimed INTEGER NOT NULL DEFAULT 0,"
    "  received INTEGER NOT NULL DEFAULT 0,"
    "  validator TEXT NOT NULL DEFAULT '',"
    "  next_ms INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE INDEX job_sources_due ON job_sources (next_ms) WHERE NOT fetched;"
    "CREATE TABLE job_webhooks ("
    "  job_id TEXT PRIMARY KEY,"
    "  url TEXT NOT NULL,"
    "  secret TEXT NOT NULL," /* '': the service's own, if it has one */
    "  with_transcript INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE webhook_outbox ("
    "  id TEXT PRIMARY KEY,"
    "  job_id TEXT NOT NULL,"
    "  event TEXT NOT NULL,"
    "  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN"
    "    ('waiting', 'delivered', 'failed')),"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  claimed INTEGER NOT NULL DEFAULT 0,"
    "  next_ms INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL,"
    "  last_ms INTEGER NOT NULL DEFAULT 0,"
    "  http_status INTEGER NOT NULL DEFAULT 0,"
    "  error TEXT NOT NULL DEFAULT ''"
    ") STRICT;"
    "CREATE INDEX webhook_outbox_due ON webhook_outbox (next_ms)"
    "  WHERE state = 'waiting';"
    "CREATE INDEX webhook_outbox_job ON webhook_outbox (job_id, created_ms);"
    "CREATE TRIGGER webhook_of_end AFTER UPDATE OF status ON jobs"
    "  WHEN NEW.status IN ('completed', 'failed', 'cancelled')"
    "    AND OLD.status <> NEW.status"
    "  BEGIN"
    "    INSERT INTO webhook_outbox (id, job_id, event, next_ms, created_ms)"
    "    SELECT 'msg_' || lower(hex(randomblob(16))), NEW.id, 'job.' || NEW.status,"
    "      NEW.completed_ms, NEW.completed_ms"
    "    FROM job_webhooks WHERE job_id = NEW.id;"
    "  END;"
    /* Tried again before anybody could be told: there is nothing to tell any more. */
    "CREATE TRIGGER webhook_overtaken AFTER UPDATE OF status ON jobs"
    "  WHEN NEW.status = 'pending' AND OLD.status IN ('failed', 'cancelled')"
    "  BEGIN"
    "    DELETE FROM webhook_outbox WHERE job_id = NEW.id AND state = 'waiting';"
    "  END;"
    "CREATE TRIGGER job_without_row AFTER DELETE ON jobs"
    "  BEGIN"
    "    DELETE FROM job_sources WHERE job_id = OLD.id;"
    "    DELETE FROM job_webhooks WHERE job_id = OLD.id;"
    "    DELETE FROM webhook_outbox WHERE job_id = OLD.id;"
    "  END;";

/* Who asks for the same again gets the same job: `share_key` names caller, recording and
 * parameters. */
static const char shares_sql[] =
    "CREATE TABLE job_shares ("
    "  share_key TEXT PRIMARY KEY,"
    "  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX job_shares_jobs ON job_shares (job_id);";
/* What was set while the service ran, as opposed to its environment. */
static const char settings_sql[] = "CREATE TABLE settings ("
                                   "  name TEXT PRIMARY KEY,"
                                   "  value TEXT NOT NULL"
                                   ") STRICT, WITHOUT ROWID;";
/* How loud each recording is along its time: a byte for every 20 ms. */
static const char waveforms_sql[] =
    "CREATE TABLE waveforms ("
    "  job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,"
    "  peaks BLOB NOT NULL"
    ") STRICT;";

/* Of what has ended: counts by state, the last ones of a state, failures by reason. What
 * waits is not in it, so that claims go on by the index of their order. */
static const char ended_sql[] =
    "CREATE INDEX jobs_outcomes ON jobs (status, completed_ms, error_code)"
    "  WHERE completed_ms > 0;";

/* The processes that have workers; see workers.h. */
static const char workers_sql[] = "CREATE TABLE workers ("
                                  "  id TEXT PRIMARY KEY,"
                                  "  host TEXT NOT NULL,"
                                  "  version TEXT NOT NULL,"
                                  "  pid INTEGER NOT NULL,"
                                  "  models TEXT NOT NULL,"
                                  "  embedded INTEGER NOT NULL,"
                                  "  threads INTEGER NOT NULL,"
                                  "  concurrency INTEGER NOT NULL,"
                                  "  jobs INTEGER NOT NULL,"
                                  "  real_time_factor REAL NOT NULL,"
                                  "  started_ms INTEGER NOT NULL,"
                                  "  beat_ms INTEGER NOT NULL"
                                  ") STRICT;";

/* Who may write what is coming in, and where it has got to. What a former version has
 * begun has no state, and may be written by it still. */
static const char sittings_sql[] =
    "ALTER TABLE uploads ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE uploads ADD COLUMN held INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE uploads ADD COLUMN state TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE uploads ADD COLUMN next_part INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job_sources ADD COLUMN state TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE job_sources ADD COLUMN taken TEXT NOT NULL DEFAULT '';";

/* Windows that are done before one that lies before them. */
static const char ahead_sql[] =
    "CREATE TABLE job_ahead ("
    "  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,"
    "  until_frame INTEGER NOT NULL,"
    "  heard TEXT NOT NULL,"
    "  PRIMARY KEY (job_id, until_frame)"
    ") STRICT;";

/* What is on hold stays, whoever wants to remove it: an older version, which knows
 * nothing of holds, is stopped by the database. A step back leaves all this in place for
 * the same reason, so that it may be there already. */
static const char holds_sql[] =
    "CREATE TABLE IF NOT EXISTS job_holds ("
    "  job_id TEXT PRIMARY KEY REFERENCES jobs (id),"
    "  reason TEXT NOT NULL,"
    "  placed_by TEXT NOT NULL,"
    "  placed_ms INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER IF NOT EXISTS job_hold_keeps_job BEFORE DELETE ON jobs"
    "  WHEN EXISTS (SELECT 1 FROM job_holds WHERE job_id = old.id)"
    "  BEGIN SELECT RAISE(ABORT, 'the job is on hold'); END;"
    "CREATE TRIGGER IF NOT EXISTS job_hold_keeps_what_it_has"
    "  BEFORE UPDATE OF audio_present, erased ON jobs"
    "  WHEN (new.audio_present < old.audio_present OR new.erased > old.erased)"
    "    AND EXISTS (SELECT 1 FROM job_holds WHERE job_id = old.id)"
    "  BEGIN SELECT RAISE(ABORT, 'the job is on hold'); END;";

static const struct migration steps_of_this_version[] = {
    {1, "jobs, checkpoints and transcripts", jobs_sql},
    {2, "retention of recordings and jobs", retention_sql},
    {3, "quality reports", quality_sql},
    {4, "whose a job is", callers_sql},
    {5, "keys, sessions, usage and the audit log", keys_sql},
    {6, "search, priorities, events, retention by job", schema_native_sql},
    {7, "uploads in several requests", uploads_sql},
    {8, "recordings from elsewhere, and webhooks", webhooks_sql},
    {9, "jobs that several requests share", shares_sql},
    {10, "settings made while it runs", settings_sql},
    {11, "waveforms of recordings", waveforms_sql},
    {12, "jobs by their outcome", ended_sql},
    {13, "who works", workers_sql},
    {14, "sittings of what comes in", sittings_sql},
    /* From here on each step says which schema a program must know to run with it, and
     * how to go back. */
    {15, "jobs on hold", holds_sql, .oldest = 14, .down = ""},
    {16, "windows that are done early", ahead_sql, .oldest = 14,
     .down = "DROP TABLE job_ahead;"},
};

const struct migration *migrations_all(size_t *count)
{
    *count = ARRAY_LENGTH(steps_of_this_version);
    return steps_of_this_version;
}

static int ask_int(struct sqlite_conn *c, const char *sql, int *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, sql, &stmt, e);
    if (status)
        return status;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *out = sqlite3_column_int(stmt, 0);
    else
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

/* The version that the database has; 0 for a fresh one. */
static int current_version(struct sqlite_conn *c, int *out, struct err *e)
{
    int has_table = 0, tables = 0;
    int status =
        ask_int(c, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_version'",
                &has_table, e);
    if (!status && !has_table)
        status = ask_int(c, "SELECT COUNT(*) FROM sqlite_master", &tables, e);
    if (status)
        return status;
    if (!has_table && tables)
        return err_set(e, ERR_INVALID,
                       "%s is a database of another program: give DATABASE_URL a file of "
                       "its own",
                       c->path);
    *out = 0;
    if (!has_table)
        return 0;
    return ask_int(c, "SELECT COALESCE(MAX(version), 0) FROM schema_version", out, e);
}

/* Which schema a program must know, in the row of each step; 0: the step's own. */
static int has_oldest(struct sqlite_conn *c, int *out, struct err *e)
{
    return ask_int(c,
                   "SELECT COUNT(*) FROM pragma_table_info('schema_version') "
                   "WHERE name = 'oldest'",
                   out, e);
}

static int add_oldest(struct sqlite_conn *c, struct err *e)
{
    int there = 0;
    int status = has_oldest(c, &there, e);
    if (!status && !there)
        status = sqlite_conn_script(
            c, "ALTER TABLE schema_version ADD COLUMN oldest INTEGER NOT NULL DEFAULT 0",
            e);
    return status;
}

static int note_step(struct sqlite_conn *c, const struct migration *m, int64_t now_ms,
                     struct err *e)
{
    int n = sqlite_conn_run(
        c, e, "INSERT INTO schema_version (version, name, applied_ms) VALUES (?, ?, ?)",
        "itl", m->version, m->name, now_ms);
    if (n < 0 || !m->oldest)
        return n < 0 ? n : 0;
    int status = add_oldest(c, e);
    if (status)
        return status;
    n = sqlite_conn_run(c, e, "UPDATE schema_version SET oldest = ? WHERE version = ?",
                        "ii", m->oldest, m->version);
    return n < 0 ? n : 0;
}

static int apply_one(struct sqlite_conn *c, const struct migration *m, int64_t now_ms,
                     struct err *e)
{
    int status = sqlite_conn_begin(c, e);
    if (status)
        return status;
    status = sqlite_conn_script(c,
                                "CREATE TABLE IF NOT EXISTS schema_version ("
                                "  version INTEGER PRIMARY KEY,"
                                "  name TEXT NOT NULL,"
                                "  applied_ms INTEGER NOT NULL) STRICT",
                                e);
    if (!status)
        status = sqlite_conn_script(c, m->sql, e);
    if (!status)
        status = note_step(c, m, now_ms, e);
    return sqlite_conn_end(c, status, e);
}

/* What a program must know to run with a database that is newer than `newest`. */
static int oldest_allowed(struct sqlite_conn *c, int newest, int *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int there = 0;
    int status = has_oldest(c, &there, e);
    if (!status && !there)
        return 0; /* as it is: only who knows all of it */
    if (!status)
        status = sqlite_conn_prepare(c,
                                     "SELECT MAX(CASE oldest WHEN 0 THEN version ELSE "
                                     "oldest END) FROM schema_version WHERE version > ?",
                                     &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "i", newest);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *out = sqlite3_column_int(stmt, 0);
    else
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

int migrations_look(struct sqlite_conn *c, const struct migration *steps, size_t count,
                    struct store_schema *out, struct err *e)
{
    *out = (struct store_schema){.known = count ? steps[count - 1].version : 0};
    int status = current_version(c, &out->version, e);
    out->needs = out->version;
    if (!status && out->version > out->known)
        status = oldest_allowed(c, out->known, &out->needs, e);
    if (!status && out->version <= out->known)
        out->needs = 0;
    return status;
}

/* The version that the database has, which is one that we can run with. */
static int known_version(struct sqlite_conn *c, const struct migration *steps,
                         size_t count, int *version, struct err *e)
{
    struct store_schema schema;
    int status = migrations_look(c, steps, count, &schema, e);
    *version = schema.version;
    return status ? status : store_schema_judge(&schema, c->path, e);
}

int migrations_pending(struct sqlite_conn *c, const struct migration *steps, size_t count,
                       bool *out, struct err *e)
{
    int version = 0;
    int status = known_version(c, steps, count, &version, e);
    *out = !status && count && version < steps[count - 1].version;
    return status;
}

int migrations_apply(struct sqlite_conn *c, const struct migration *steps, size_t count,
                     int64_t now_ms, struct err *e)
{
    int version = 0;
    int status = known_version(c, steps, count, &version, e);
    for (size_t i = 0; !status && i < count; i++) {
        if (steps[i].version <= version)
            continue;
        status = apply_one(c, &steps[i], now_ms, e);
        if (!status && version > 0)
            log_info("database: schema %d (%s)", steps[i].version, steps[i].name);
    }
    return status;
}

static int undo_one(struct sqlite_conn *c, const struct migration *m, struct err *e)
{
    int status = sqlite_conn_begin(c, e);
    if (status)
        return status;
    status = sqlite_conn_script(c, m->down, e);
    if (!status) {
        int n = sqlite_conn_run(c, e, "DELETE FROM schema_version WHERE version = ?", "i",
                                m->version);
        status = n < 0 ? n : 0;
    }
    status = sqlite_conn_end(c, status, e);
    if (!status)
        log_info("database: schema %d (%s) was taken back", m->version, m->name);
    return status;
}

int migrations_undo(struct sqlite_conn *c, const struct migration *steps, size_t count,
                    int to, struct err *e)
{
    int version = 0;
    int status = current_version(c, &version, e);
    if (!status && count && version > steps[count - 1].version)
        return store_schema_unknown(version, steps[count - 1].version, e);
    /* All the way or not at all. */
    for (size_t i = count; !status && i-- > 0;)
        if (steps[i].version > to && steps[i].version <= version && !steps[i].down)
            status = store_schema_no_way_back(steps[i].version, e);
    for (size_t i = count; !status && i-- > 0;)
        if (steps[i].version > to && steps[i].version <= version)
            status = undo_one(c, &steps[i], e);
    return status;
}
