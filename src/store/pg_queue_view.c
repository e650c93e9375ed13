/* The queue as an operator looks at it, in PostgreSQL. */
#include "store/queue_view.h"

#include "base/mem.h"
#include "store/pg_jobs.h"

#define FETCHING                                                                         \
    "EXISTS (SELECT 1 FROM job_sources WHERE job_id = jobs.id AND NOT fetched)"
/* What a claim would take now, if it came to it. */
#define IN_LINE "status = 'pending' AND run_after_ms <= $1 AND NOT " FETCHING
/* In the order that read_entry expects. */
#define ENTRIES                                                                          \
    "SELECT id, status, attempt, crashes, priority, progress, created_ms, started_ms, "  \
    "completed_ms, run_after_ms, file_bytes, duration_seconds, next_frame, " FETCHING    \
    ", COALESCE(owner, ''), original_filename, model, caller, message, "                 \
    "COALESCE(error_code, ''), COALESCE(error_message, '') FROM jobs "
/* Mel frames are 10 ms. */
#define FRAMES_A_SECOND 100.0

static int read_texts(const PGresult *r, int row, struct store_queue_entry *x,
                      struct err *e)
{
    bool failed = false;
    char **const fields[] = {&x->owner,   &x->filename,   &x->model,        &x->caller,
                             &x->message, &x->error_code, &x->error_message};
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
        *fields[i] = pg_copy(r, row, 14 + (int)i, &failed);
    return failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

static int read_entry(struct pg_conn *c, const PGresult *r, int row,
                      struct store_queue_entry *x, struct err *e)
{
    *x = (struct store_queue_entry){0};
    if (!id_valid(pg_text(r, row, 0)) ||
        !job_status_parse(pg_text(r, row, 1), &x->status))
        return err_set(e, ERR_CORRUPT,
                       "%s holds a job that is none: restore it from a backup",
                       c->place->name);
    pg_copy_to(r, row, 0, x->id, sizeof x->id);
    x->attempt = (int)pg_int(r, row, 2);
    x->crashes = (int)pg_int(r, row, 3);
    x->priority = (int)pg_int(r, row, 4);
    x->progress = (int)pg_int(r, row, 5);
    x->created_ms = pg_int(r, row, 6);
    x->started_ms = pg_int(r, row, 7);
    x->completed_ms = pg_int(r, row, 8);
    x->run_after_ms = pg_int(r, row, 9);
    x->file_bytes = pg_int(r, row, 10);
    x->duration_seconds = pg_double(r, row, 11);
    x->done_seconds = (double)pg_int(r, row, 12) / FRAMES_A_SECOND;
    x->fetching = pg_bool(r, row, 13);
    int status = read_texts(r, row, x, e);
    if (status)
        store_queue_entry_release(x);
    return status;
}

static int read_entries(struct pg_conn *c, const PGresult *r, int64_t now_ms,
                        struct store_queue_list *out, struct err *e)
{
    int n = PQntuples(r), status = 0;
    int64_t position = 0;
    if (!n)
        return 0;
    out->entries = mem_array((size_t)n, sizeof *out->entries);
    if (!out->entries)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        struct store_queue_entry *x = &out->entries[i];
        if ((status = read_entry(c, r, i, x, e)))
            break;
        if (x->status == JOB_PENDING && x->run_after_ms <= now_ms && !x->fetching)
            x->position = ++position;
        out->count++;
    }
    return status;
}

static int ask_list(struct pg_conn *c, enum job_status state, int64_t limit, PGresult **r,
                    struct err *e)
{
    if (state == JOB_PENDING)
        return pg_ask(c, r, e,
                      ENTRIES "WHERE status = 'pending' ORDER BY " PG_QUEUE_ORDER
                              ", id LIMIT $1",
                      "l", limit);
    if (state == JOB_PROCESSING)
        return pg_ask(c, r, e,
                      ENTRIES
                      "WHERE status = 'processing' ORDER BY started_ms, id LIMIT $1",
                      "l", limit);
    return pg_ask(c, r, e,
                  ENTRIES "WHERE status = $1 AND completed_ms > 0 ORDER BY completed_ms "
                          "DESC, id DESC LIMIT $2",
                  "tl", job_status_name(state), limit);
}

static int queue_list(struct store *s, enum job_status state, int64_t now_ms,
                      int64_t limit, struct store_queue_list *out, struct err *e)
{
    int status;
    *out = (struct store_queue_list){0};
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        store_queue_list_release(out);
        status = ask_list(t.conn, state, limit, &r, e);
        if (!status)
            status = read_entries(t.conn, r, now_ms, out, e);
        PQclear(r);
    }
    if (status)
        store_queue_list_release(out);
    return status;
}

static int find_position(struct pg_conn *c, int64_t now_ms, struct store_queue_entry *x,
                         struct err *e)
{
    PGresult *r;
    if (x->status != JOB_PENDING || x->run_after_ms > now_ms || x->fetching)
        return 0;
    int status =
        pg_ask(c, &r, e,
               "SELECT COUNT(*) FROM jobs WHERE " IN_LINE " AND " PG_QUEUE_ORDER
               " <= $2 AND (" PG_QUEUE_ORDER " < $2 OR id <= $3)",
               "llt", now_ms, x->created_ms - (int64_t)x->priority * JOB_PRIORITY_STEP_MS,
               x->id);
    if (!status)
        x->position = pg_int(r, 0, 0);
    PQclear(r);
    return status;
}

static int queue_entry(struct store *s, const char *id, int64_t now_ms,
                       struct store_queue_entry *out, struct err *e)
{
    int status;
    struct store_queue_entry found = {0};
    struct pg_turn t = pg_begin(s, PG_SNAPSHOT);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        store_queue_entry_release(&found);
        status = pg_ask(t.conn, &r, e, ENTRIES "WHERE id = $1", "t", id);
        if (!status)
            status = PQntuples(r) ? read_entry(t.conn, r, 0, &found, e)
                                  : pg_no_such_job(e, id);
        PQclear(r);
        if (!status)
            status = find_position(t.conn, now_ms, &found, e);
    }
    if (status)
        store_queue_entry_release(&found);
    else
        *out = found;
    return status;
}

/* ---- figures --------------------------------------------------------------------- */

/* How many they are, the seconds that are left to do, and the bytes of those whose length
 * is not known. */
#define BACKLOG                                                                          \
    "SELECT COUNT(*), COALESCE(SUM(CASE WHEN duration_seconds > 0 THEN "                 \
    "GREATEST(duration_seconds - next_frame / 100.0, 0) END), 0), "                      \
    "COALESCE(SUM(CASE WHEN duration_seconds = 0 THEN file_bytes END), 0)::bigint"

static int count_ended(struct pg_conn *c, struct store_queue_figures *f, struct err *e)
{
    PGresult *r;
    enum job_status state;
    int status = pg_ask(c, &r, e,
                        "SELECT status, COUNT(*) FROM jobs WHERE completed_ms > 0 "
                        "GROUP BY status",
                        "");
    for (int i = 0; !status && i < PQntuples(r); i++)
        if (job_status_parse(pg_text(r, i, 0), &state))
            f->jobs[state] = pg_int(r, i, 1);
    PQclear(r);
    return status;
}

static int ask_waiting(struct pg_conn *c, int64_t now_ms, struct store_queue_figures *f,
                       struct err *e)
{
    PGresult *r;
    int status =
        pg_ask(c, &r, e,
               BACKLOG ", COALESCE(MIN(created_ms) FILTER (WHERE " IN_LINE "), 0) "
                       "FROM jobs WHERE status = 'pending'",
               "l", now_ms);
    if (!status) {
        f->jobs[JOB_PENDING] = pg_int(r, 0, 0);
        f->waiting_seconds = pg_double(r, 0, 1);
        f->waiting_bytes = pg_int(r, 0, 2);
        f->oldest_ms = pg_int(r, 0, 3);
    }
    PQclear(r);
    return status;
}

static int ask_running(struct pg_conn *c, struct store_queue_figures *f, struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e, BACKLOG " FROM jobs WHERE status = 'processing'", "");
    if (!status) {
        f->jobs[JOB_PROCESSING] = pg_int(r, 0, 0);
        f->running_seconds = pg_double(r, 0, 1);
        f->running_bytes = pg_int(r, 0, 2);
    }
    PQclear(r);
    return status;
}

static int ask_recent(struct pg_conn *c, struct store_queue_figures *f, struct err *e)
{
    PGresult *r;
    int status = pg_ask(
        c, &r, e,
        "SELECT COUNT(*), COALESCE(SUM(duration_seconds), 0), "
        "COALESCE(SUM(completed_ms - started_ms), 0)::bigint, "
        "COALESCE(SUM(file_bytes), 0)::bigint FROM (SELECT duration_seconds, "
        "completed_ms, started_ms, file_bytes FROM jobs WHERE status = 'completed' "
        "AND completed_ms > 0 ORDER BY completed_ms DESC LIMIT $1) AS recent",
        "l", (int64_t)STORE_QUEUE_RECENT);
    if (!status) {
        f->recent_jobs = pg_int(r, 0, 0);
        f->recent_audio_seconds = pg_double(r, 0, 1);
        f->recent_work_seconds = (double)pg_int(r, 0, 2) / 1000;
        f->recent_bytes = pg_int(r, 0, 3);
    }
    PQclear(r);
    return status;
}

static int ask_failures(struct pg_conn *c, struct store_queue_figures *f, struct err *e)
{
    PGresult *r;
    int status = pg_ask(
        c, &r, e,
        "SELECT COALESCE(error_code, ''), COUNT(*) FROM jobs WHERE "
        "status = 'failed' AND completed_ms > 0 GROUP BY error_code ORDER BY 2 DESC, 1 "
        "LIMIT $1",
        "l", (int64_t)STORE_QUEUE_REASONS);
    for (int i = 0; !status && i < PQntuples(r) && i < STORE_QUEUE_REASONS; i++) {
        pg_copy_to(r, i, 0, f->failures[i].code, sizeof f->failures[i].code);
        f->failures[f->n_failures++].jobs = pg_int(r, i, 1);
    }
    PQclear(r);
    return status;
}

static int ask_models(struct pg_conn *c, struct store_queue_figures *f, struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e,
                        "SELECT model, COUNT(*) FROM jobs WHERE status = 'pending' "
                        "GROUP BY model ORDER BY 2 DESC, 1 LIMIT $1",
                        "l", (int64_t)STORE_QUEUE_MODELS);
    for (int i = 0; !status && i < PQntuples(r) && i < STORE_QUEUE_MODELS; i++) {
        pg_copy_to(r, i, 0, f->models[f->n_models].name, sizeof f->models[0].name);
        f->models[f->n_models++].jobs = pg_int(r, i, 1);
    }
    PQclear(r);
    return status;
}

static int queue_figures(struct store *s, int64_t now_ms, struct store_queue_figures *out,
                         struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_SNAPSHOT);
    while (pg_turn(&t, &status, e)) {
        *out = (struct store_queue_figures){0};
        status = count_ended(t.conn, out, e);
        if (!status)
            status = ask_waiting(t.conn, now_ms, out, e);
        if (!status)
            status = ask_running(t.conn, out, e);
        if (!status)
            status = ask_recent(t.conn, out, e);
        if (!status)
            status = ask_failures(t.conn, out, e);
        if (!status)
            status = ask_models(t.conn, out, e);
    }
    return status;
}

/* ---- what has failed ------------------------------------------------------------- */

static int queue_dead(struct store *s, int64_t before_ms, const char *after,
                      char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        *count = 0;
        status =
            pg_ask(t.conn, &r, e,
                   "SELECT id FROM jobs WHERE status = 'failed' AND completed_ms > 0 "
                   "AND completed_ms < $1 AND id > $2 ORDER BY id LIMIT $3",
                   "ltl", before_ms, after, (int64_t)max);
        if (!status)
            pg_read_ids(r, ids, max, count);
        PQclear(r);
    }
    return status;
}

static int queue_purge(struct store *s, int64_t before_ms, char (*ids)[ID_SIZE],
                       size_t max, size_t *count, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_CHANGE);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        *count = 0;
        status = pg_ask(t.conn, &r, e,
                        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE "
                        "status = 'failed' AND completed_ms > 0 AND completed_ms < $1 "
                        "AND NOT EXISTS (SELECT 1 FROM job_holds WHERE job_id = jobs.id) "
                        "LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id",
                        "ll", before_ms, (int64_t)max);
        if (!status)
            pg_read_ids(r, ids, max, count);
        PQclear(r);
    }
    if (status)
        *count = 0;
    return status;
}

const struct store_queue_ops pg_queue_ops = {
    .list = queue_list,
    .entry = queue_entry,
    .figures = queue_figures,
    .dead = queue_dead,
    .purge = queue_purge,
};
