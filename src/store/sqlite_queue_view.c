/* The queue as an operator looks at it, in SQLite. */
#include "store/queue_view.h"

#include "base/mem.h"
#include "store/sqlite_native.h"
#include "store/sqlite_read.h"

#define READER(s) sqlite_store_reader((struct sqlite_store *)(s))

#define FETCHING                                                                         \
    "EXISTS (SELECT 1 FROM job_sources WHERE job_id = jobs.id AND NOT fetched)"
/* What a claim would take now, if it came to it. */
#define IN_LINE "status = 'pending' AND run_after_ms <= ?1 AND NOT " FETCHING
/* In the order that read_entry expects. */
#define ENTRIES                                                                          \
    "SELECT id, status, attempt, crashes, priority, progress, created_ms, started_ms, "  \
    "completed_ms, run_after_ms, file_bytes, duration_seconds, next_frame, " FETCHING    \
    ", COALESCE(owner, ''), original_filename, model, caller, message, "                 \
    "COALESCE(error_code, ''), COALESCE(error_message, '') FROM jobs "
/* Mel frames are 10 ms. */
#define FRAMES_A_SECOND 100.0

void store_queue_entry_release(struct store_queue_entry *x)
{
    free(x->owner);
    free(x->filename);
    free(x->model);
    free(x->caller);
    free(x->message);
    free(x->error_code);
    free(x->error_message);
    *x = (struct store_queue_entry){0};
}

void store_queue_list_release(struct store_queue_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        store_queue_entry_release(&l->entries[i]);
    free(l->entries);
    *l = (struct store_queue_list){0};
}

static int read_texts(sqlite3_stmt *stmt, struct store_queue_entry *x, struct err *e)
{
    bool failed = false;
    char **const fields[] = {&x->owner,   &x->filename,   &x->model,        &x->caller,
                             &x->message, &x->error_code, &x->error_message};
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
        *fields[i] = sqlite_column_text(stmt, 14 + (int)i, &failed);
    return failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

static int read_entry(struct sqlite_conn *c, sqlite3_stmt *stmt,
                      struct store_queue_entry *x, struct err *e)
{
    *x = (struct store_queue_entry){0};
    if (!sqlite_column_id(stmt, 0, x->id) ||
        !job_status_parse((const char *)sqlite3_column_text(stmt, 1), &x->status))
        return err_set(e, ERR_CORRUPT,
                       "the database %s holds a job that is none: restore it from a "
                       "backup",
                       c->path);
    x->attempt = sqlite3_column_int(stmt, 2);
    x->crashes = sqlite3_column_int(stmt, 3);
    x->priority = sqlite3_column_int(stmt, 4);
    x->progress = sqlite3_column_int(stmt, 5);
    x->created_ms = sqlite3_column_int64(stmt, 6);
    x->started_ms = sqlite3_column_int64(stmt, 7);
    x->completed_ms = sqlite3_column_int64(stmt, 8);
    x->run_after_ms = sqlite3_column_int64(stmt, 9);
    x->file_bytes = sqlite3_column_int64(stmt, 10);
    x->duration_seconds = sqlite3_column_double(stmt, 11);
    x->done_seconds = (double)sqlite3_column_int64(stmt, 12) / FRAMES_A_SECOND;
    x->fetching = sqlite3_column_int(stmt, 13) != 0;
    int status = read_texts(stmt, x, e);
    if (status)
        store_queue_entry_release(x);
    return status;
}

static int read_entries(struct sqlite_conn *c, sqlite3_stmt *stmt, int64_t now_ms,
                        struct store_queue_list *out, struct err *e)
{
    size_t capacity = 0;
    int64_t position = 0;
    int step, status = 0;
    while (!status && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (step != SQLITE_ROW)
            return sqlite_conn_error(c, e);
        if (mem_grow(&out->entries, &capacity, out->count + 1, sizeof *out->entries))
            return err_set(e, ERR_NOMEM, "out of memory");
        struct store_queue_entry *x = &out->entries[out->count];
        status = read_entry(c, stmt, x, e);
        if (status)
            break;
        if (x->status == JOB_PENDING && x->run_after_ms <= now_ms && !x->fetching)
            x->position = ++position;
        out->count++;
    }
    return status;
}

static int queue_list(struct store *s, enum job_status state, int64_t now_ms,
                      int64_t limit, struct store_queue_list *out, struct err *e)
{
    sqlite3_stmt *stmt;
    *out = (struct store_queue_list){0};
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(
        c,
        state == JOB_PENDING ? ENTRIES
            "WHERE status = 'pending' AND ?1 = 'pending' ORDER "
            "BY " SQLITE_QUEUE_ORDER ", id LIMIT ?2"
        : state == JOB_PROCESSING ? ENTRIES
            "WHERE status = 'processing' AND ?1 = 'processing' ORDER BY "
            "started_ms, id LIMIT ?2"
                                  : ENTRIES
            "WHERE status = ?1 AND completed_ms > 0 ORDER BY completed_ms DESC, "
            "id DESC LIMIT ?2",
        &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "tl", job_status_name(state), limit);
        status = read_entries(c, stmt, now_ms, out, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    if (status)
        store_queue_list_release(out);
    return status;
}

static int find_position(struct sqlite_conn *c, int64_t now_ms,
                         struct store_queue_entry *x, struct err *e)
{
    sqlite3_stmt *stmt;
    if (x->status != JOB_PENDING || x->run_after_ms > now_ms || x->fetching)
        return 0;
    int status = sqlite_conn_prepare(
        c,
        "SELECT COUNT(*) FROM jobs WHERE " IN_LINE " AND " SQLITE_QUEUE_ORDER
        " <= ?2 AND (" SQLITE_QUEUE_ORDER " < ?2 OR id <= ?3)",
        &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "llt", now_ms,
                     x->created_ms - (int64_t)x->priority * JOB_PRIORITY_STEP_MS, x->id);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        x->position = sqlite3_column_int64(stmt, 0);
    else
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

static int entry_with(struct sqlite_conn *c, const char *id, int64_t now_ms,
                      struct store_queue_entry *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, ENTRIES "WHERE id = ?", &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "t", id);
    int step = sqlite3_step(stmt);
    status = step == SQLITE_ROW    ? read_entry(c, stmt, out, e)
             : step == SQLITE_DONE ? sqlite_no_such_job(e, id)
                                   : sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    if (!status && (status = find_position(c, now_ms, out, e)))
        store_queue_entry_release(out);
    return status;
}

static int queue_entry(struct store *s, const char *id, int64_t now_ms,
                       struct store_queue_entry *out, struct err *e)
{
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_script(c, "BEGIN", e);
    if (!status)
        status = entry_with(c, id, now_ms, out, e);
    (void)sqlite_conn_script(c, "ROLLBACK", NULL);
    sqlite_store_done(c);
    return status;
}

/* ---- figures --------------------------------------------------------------------- */

static void read_count(sqlite3_stmt *stmt, struct store_queue_figures *f)
{
    enum job_status state;
    if (job_status_parse((const char *)sqlite3_column_text(stmt, 0), &state))
        f->jobs[state] = sqlite3_column_int64(stmt, 1);
}

static void read_waiting(sqlite3_stmt *stmt, struct store_queue_figures *f)
{
    f->jobs[JOB_PENDING] = sqlite3_column_int64(stmt, 0);
    f->waiting_seconds = sqlite3_column_double(stmt, 1);
    f->waiting_bytes = sqlite3_column_int64(stmt, 2);
    f->oldest_ms = sqlite3_column_int64(stmt, 3);
}

static void read_running(sqlite3_stmt *stmt, struct store_queue_figures *f)
{
    f->jobs[JOB_PROCESSING] = sqlite3_column_int64(stmt, 0);
    f->running_seconds = sqlite3_column_double(stmt, 1);
    f->running_bytes = sqlite3_column_int64(stmt, 2);
}

static void read_recent(sqlite3_stmt *stmt, struct store_queue_figures *f)
{
    f->recent_jobs = sqlite3_column_int64(stmt, 0);
    f->recent_audio_seconds = sqlite3_column_double(stmt, 1);
    f->recent_work_seconds = (double)sqlite3_column_int64(stmt, 2) / 1000;
    f->recent_bytes = sqlite3_column_int64(stmt, 3);
}

static void read_failure(sqlite3_stmt *stmt, struct store_queue_figures *f)
{
    if (f->n_failures == STORE_QUEUE_REASONS)
        return;
    (void)snprintf(f->failures[f->n_failures].code, sizeof f->failures[0].code, "%s",
                   (const char *)sqlite3_column_text(stmt, 0));
    f->failures[f->n_failures++].jobs = sqlite3_column_int64(stmt, 1);
}

static void read_model(sqlite3_stmt *stmt, struct store_queue_figures *f)
{
    if (f->n_models == STORE_QUEUE_MODELS)
        return;
    const char *name = (const char *)sqlite3_column_text(stmt, 0);
    (void)snprintf(f->models[f->n_models].name, sizeof f->models[0].name, "%s",
                   name ? name : "");
    f->models[f->n_models++].jobs = sqlite3_column_int64(stmt, 1);
}

/* How many they are, the seconds that are left to do, and the bytes of those whose length
 * is not known. */
#define BACKLOG                                                                          \
    "SELECT COUNT(*), COALESCE(SUM(CASE WHEN duration_seconds > 0 THEN "                 \
    "MAX(duration_seconds - next_frame / 100.0, 0) END), 0), "                           \
    "COALESCE(SUM(CASE WHEN duration_seconds = 0 THEN file_bytes END), 0)"

/* Each question, and what is done with each of its rows. */
static const struct {
    const char *sql;
    void (*read)(sqlite3_stmt *stmt, struct store_queue_figures *f);
} questions[] = {
    {"SELECT status, COUNT(*) FROM jobs WHERE completed_ms > 0 AND ?1 IS NOT NULL "
     "GROUP BY status",
     read_count},
    {BACKLOG ", COALESCE(MIN(created_ms) FILTER (WHERE " IN_LINE "), 0) FROM jobs "
             "WHERE status = 'pending'",
     read_waiting},
    {BACKLOG " FROM jobs WHERE status = 'processing' AND ?1 IS NOT NULL", read_running},
    {"SELECT COUNT(*), COALESCE(SUM(duration_seconds), 0), "
     "COALESCE(SUM(completed_ms - started_ms), 0), COALESCE(SUM(file_bytes), 0) FROM "
     "(SELECT duration_seconds, completed_ms, started_ms, file_bytes FROM jobs WHERE "
     "status = 'completed' AND completed_ms > 0 AND ?1 IS NOT NULL ORDER BY completed_ms "
     "DESC LIMIT ?2)",
     read_recent},
    {"SELECT COALESCE(error_code, ''), COUNT(*) FROM jobs WHERE status = 'failed' AND "
     "completed_ms > 0 AND ?1 IS NOT NULL GROUP BY error_code ORDER BY 2 DESC, 1 LIMIT "
     "?2",
     read_failure},
    {"SELECT model, COUNT(*) FROM jobs WHERE status = 'pending' AND ?1 IS NOT NULL GROUP "
     "BY model ORDER BY 2 DESC, 1 LIMIT ?2",
     read_model},
};

static int ask(struct sqlite_conn *c, size_t i, int64_t now_ms,
               struct store_queue_figures *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, questions[i].sql, &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "l", now_ms);
    if (questions[i].read == read_recent)
        sqlite3_bind_int(stmt, 2, STORE_QUEUE_RECENT);
    else if (questions[i].read == read_failure)
        sqlite3_bind_int(stmt, 2, STORE_QUEUE_REASONS);
    else if (questions[i].read == read_model)
        sqlite3_bind_int(stmt, 2, STORE_QUEUE_MODELS);
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW)
        questions[i].read(stmt, out);
    if (step != SQLITE_DONE)
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

static int queue_figures(struct store *s, int64_t now_ms, struct store_queue_figures *out,
                         struct err *e)
{
    *out = (struct store_queue_figures){0};
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_script(c, "BEGIN", e);
    for (size_t i = 0; !status && i < ARRAY_LENGTH(questions); i++)
        status = ask(c, i, now_ms, out, e);
    (void)sqlite_conn_script(c, "ROLLBACK", NULL);
    sqlite_store_done(c);
    return status;
}

/* ---- what has failed ------------------------------------------------------------- */

static int queue_dead(struct store *s, int64_t before_ms, const char *after,
                      char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e)
{
    sqlite3_stmt *stmt;
    *count = 0;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(c,
                                     "SELECT id FROM jobs WHERE status = 'failed' AND "
                                     "completed_ms > 0 AND completed_ms < ? "
                                     "AND id > ? "
                                     "ORDER BY id LIMIT ?",
                                     &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "ltl", before_ms, after, (int64_t)max);
        status = sqlite_read_ids(c, stmt, ids, max, count, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

static int purge_with(struct sqlite_conn *c, int64_t before_ms, char (*ids)[ID_SIZE],
                      size_t max, size_t *count, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c,
        "SELECT id FROM jobs WHERE status = 'failed' AND completed_ms > 0 AND "
        "completed_ms < ? AND NOT EXISTS (SELECT 1 FROM job_holds WHERE job_id = "
        "jobs.id) "
        "LIMIT ?",
        &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "ll", before_ms, (int64_t)max);
    status = sqlite_read_ids(c, stmt, ids, max, count, e);
    sqlite3_reset(stmt);
    for (size_t i = 0; !status && i < *count; i++) {
        int n = sqlite_conn_run(c, e, "DELETE FROM jobs WHERE id = ?", "t", ids[i]);
        status = n < 0 ? n : 0;
    }
    return status;
}

static int queue_purge(struct store *s, int64_t before_ms, char (*ids)[ID_SIZE],
                       size_t max, size_t *count, struct err *e)
{
    *count = 0;
    struct sqlite_conn *c = sqlite_store_writer((struct sqlite_store *)s);
    int status = sqlite_conn_begin(c, e);
    if (!status)
        status = sqlite_conn_end(c, purge_with(c, before_ms, ids, max, count, e), e);
    sqlite_store_done(c);
    if (status)
        *count = 0;
    return status;
}

const struct store_queue_ops sqlite_queue_ops = {
    .list = queue_list,
    .entry = queue_entry,
    .figures = queue_figures,
    .dead = queue_dead,
    .purge = queue_purge,
};
