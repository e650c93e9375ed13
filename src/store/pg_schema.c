/* The tables are those of migrations.c and schema_native.c in PostgreSQL's words. Texts
 * sort by their bytes, as SQLite's do, whatever the language of the database. */
#include "store/pg_schema.h"

#include "base/mem.h"

#define TEXT_  "TEXT COLLATE \"C\" NOT NULL"
#define NOW_MS "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

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
