/* What the store answers, in SQL: each question on one snapshot. */
#include "store/sqlite_read.h"

#include "base/mem.h"
#include "store/search.h"

#define READER(s) sqlite_store_reader((struct sqlite_store *)(s))

/* In the order that read_job expects. */
#define JOB_COLUMNS                                                                      \
    "id, status, attempt, original_filename, filename, model, language_asked, "          \
    "language, task, options, error_message, error_code, message, created_ms, "          \
    "started_ms, completed_ms, file_bytes, duration_seconds, progress, audio_present, "  \
    "caller, priority, retain_days, erased"
#define COLUMN_TRANSCRIPT 24 /* and the report behind it */

int sqlite_no_such_job(struct err *e, const char *id)
{
    return err_set(e, ERR_NOT_FOUND, "there is no job %.36s", id);
}

char *sqlite_column_text(sqlite3_stmt *stmt, int column, bool *failed)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return NULL;
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    char *copy = mem_strdup(text);
    if (!copy)
        *failed = true;
    return copy;
}

bool sqlite_column_id(sqlite3_stmt *stmt, int column, char out[ID_SIZE])
{
    const char *id = (const char *)sqlite3_column_text(stmt, column);
    if (!id_valid(id))
        return false;
    memcpy(out, id, ID_SIZE);
    return true;
}

int sqlite_read_ids(struct sqlite_conn *c, sqlite3_stmt *stmt, char (*ids)[ID_SIZE],
                    size_t max, size_t *count, struct err *e)
{
    int step = SQLITE_DONE;
    *count = 0;
    while (*count < max && (step = sqlite3_step(stmt)) == SQLITE_ROW)
        *count += sqlite_column_id(stmt, 0, ids[*count]);
    return step == SQLITE_ROW || step == SQLITE_DONE ? 0 : sqlite_conn_error(c, e);
}

static int read_job(struct sqlite_conn *c, sqlite3_stmt *stmt, struct job *j,
                    struct err *e)
{
    *j = (struct job){0};
    bool failed = false;
    const char *id = (const char *)sqlite3_column_text(stmt, 0);
    const char *status = (const char *)sqlite3_column_text(stmt, 1);
    if (!id_valid(id) || !job_status_parse(status, &j->status))
        return err_set(e, ERR_CORRUPT,
                       "the database %s holds a job that is none: restore "
                       "it from a backup",
                       c->path);
    memcpy(j->id, id, ID_SIZE);
    j->attempt = sqlite3_column_int(stmt, 2);
    j->original_filename = sqlite_column_text(stmt, 3, &failed);
    j->filename = sqlite_column_text(stmt, 4, &failed);
    j->model = sqlite_column_text(stmt, 5, &failed);
    j->language_asked = sqlite_column_text(stmt, 6, &failed);
    j->language = sqlite_column_text(stmt, 7, &failed);
    j->task = sqlite_column_text(stmt, 8, &failed);
    j->options = sqlite_column_text(stmt, 9, &failed);
    j->error_message = sqlite_column_text(stmt, 10, &failed);
    j->error_code = sqlite_column_text(stmt, 11, &failed);
    j->message = sqlite_column_text(stmt, 12, &failed);
    j->created_ms = sqlite3_column_int64(stmt, 13);
    j->started_ms = sqlite3_column_int64(stmt, 14);
    j->completed_ms = sqlite3_column_int64(stmt, 15);
    j->file_bytes = sqlite3_column_int64(stmt, 16);
    j->duration_seconds = sqlite3_column_double(stmt, 17);
    j->progress = sqlite3_column_int(stmt, 18);
    j->audio_present = sqlite3_column_int(stmt, 19) != 0;
    j->caller = sqlite_column_text(stmt, 20, &failed);
    j->priority = sqlite3_column_int(stmt, 21);
    j->retain_days = sqlite3_column_int(stmt, 22);
    j->erased = sqlite3_column_int(stmt, 23) != 0;
    if (sqlite3_column_count(stmt) > COLUMN_TRANSCRIPT + 1) {
        j->transcript_text = sqlite_column_text(stmt, COLUMN_TRANSCRIPT, &failed);
        j->quality = sqlite_column_text(stmt, COLUMN_TRANSCRIPT + 1, &failed);
    }
    if (!failed)
        return 0;
    job_release(j);
    return err_set(e, ERR_NOMEM, "out of memory");
}

int sqlite_get_with(struct sqlite_conn *c, const char *id, struct job *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c,
                                     "SELECT " JOB_COLUMNS ", body, quality FROM jobs "
                                     "LEFT JOIN transcripts ON job_id = id WHERE id = ?",
                                     &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "t", id);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW)
        status = read_job(c, stmt, out, e);
    else
        status =
            step == SQLITE_DONE ? sqlite_no_such_job(e, id) : sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

int sqlite_read_get(struct store *s, const char *id, struct job *out, struct err *e)
{
    struct sqlite_conn *c = READER(s);
    int status = sqlite_get_with(c, id, out, e);
    sqlite_store_done(c);
    return status;
}

#define MATCHES                                                                          \
    " FROM jobs WHERE (?1 IS NULL OR status = ?1)"                                       \
    " AND (?2 IS NULL OR id IN (SELECT job_id FROM job_docs WHERE doc IN"                \
    "      (SELECT rowid FROM job_search WHERE job_search MATCH ?2)))"                   \
    " AND (?3 IS NULL OR caller = ?3)"

/* The same as one pass over what the index finds: ids and their number, before anything
 * else of a job is read. */
#define FOUND(hits)                                                                      \
    "SELECT " JOB_COLUMNS ", total FROM (SELECT " hits                                   \
    " LIMIT ?4 OFFSET ?5) JOIN jobs ON id = hit ORDER BY jobs.created_ms DESC, id DESC"
#define HITS_BY_STATUS                                                                   \
    "id AS hit, COUNT(*) OVER () AS total" MATCHES " ORDER BY created_ms DESC, id DESC"
#define HITS                                                                             \
    "job_id AS hit, COUNT(*) OVER () AS total FROM job_docs WHERE ?1 IS NULL AND doc IN" \
    " (SELECT rowid FROM job_search WHERE job_search MATCH ?2)"                          \
    " AND (?3 IS NULL OR caller = ?3) ORDER BY created_ms DESC, job_id DESC"
#define COLUMN_TOTAL 24

static int count_matches(struct sqlite_conn *c, const char *state, const char *pattern,
                         const struct job_filter *f, int64_t *total, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, "SELECT COUNT(*)" MATCHES, &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "ttt", state, pattern, f->caller);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *total = sqlite3_column_int64(stmt, 0);
    else
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

static int read_matches(struct sqlite_conn *c, const char *state, const char *pattern,
                        const struct job_filter *f, struct job_list *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c,
        pattern && state ? FOUND(HITS_BY_STATUS)
        : pattern        ? FOUND(HITS)
                         : "SELECT " JOB_COLUMNS MATCHES
                    " ORDER BY created_ms DESC, id DESC LIMIT ?4 OFFSET ?5",
        &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "tttll", state, pattern, f->caller, f->limit, f->offset);
    struct job row;
    size_t capacity = 0;
    int step;
    while (!status && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (step != SQLITE_ROW)
            status = sqlite_conn_error(c, e);
        else if (mem_grow(&out->jobs, &capacity, out->count + 1, sizeof *out->jobs))
            status = err_set(e, ERR_NOMEM, "out of memory");
        else if (!(status = read_job(c, stmt, &row, e)))
            out->jobs[out->count++] = row;
        if (!status && pattern)
            out->total = sqlite3_column_int64(stmt, COLUMN_TOTAL);
    }
    sqlite3_reset(stmt);
    return status;
}

int sqlite_read_list(struct store *s, const struct job_filter *f, struct job_list *out,
                     struct err *e)
{
    *out = (struct job_list){0};
    if (f->limit < 0 || f->offset < 0)
        return err_set(e, ERR_INVALID, "limit and offset cannot be negative");
    const char *state = f->by_status ? job_status_name(f->status) : NULL;
    char *pattern = NULL;
    if (f->search && *f->search) {
        int made = search_expression(f->search, &pattern, e);
        if (made)
            return made;
    }
    struct sqlite_conn *c = READER(s);
    /* One snapshot for both questions. */
    int status = sqlite_conn_script(c, "BEGIN", e);
    if (!status)
        status = read_matches(c, state, pattern, f, out, e);
    /* Behind the last page there is no row to tell how many there are. */
    if (!status && (!pattern || (!out->count && f->offset)))
        status = count_matches(c, state, pattern, f, &out->total, e);
    (void)sqlite_conn_script(c, "ROLLBACK", NULL);
    sqlite_store_done(c);
    free(pattern);
    if (status)
        job_list_release(out);
    return status;
}

int sqlite_read_transcript(struct store *s, const char *id, struct buf *json,
                           struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status =
        sqlite_conn_prepare(c,
                            "SELECT status, json FROM jobs LEFT JOIN transcripts "
                            "ON job_id = id WHERE id = ?",
                            &stmt, e);
    if (status)
        goto done;
    sqlite_conn_bind(stmt, "t", id);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_DONE) {
        status = sqlite_no_such_job(e, id);
    } else if (step != SQLITE_ROW) {
        status = sqlite_conn_error(c, e);
    } else if (sqlite3_column_type(stmt, 1) == SQLITE_NULL) {
        status = err_set(e, ERR_STATE, "the job is %s: there is no transcript yet",
                         (const char *)sqlite3_column_text(stmt, 0));
    } else {
        const void *bytes = sqlite3_column_text(stmt, 1);
        buf_add(json, bytes, (size_t)sqlite3_column_bytes(stmt, 1));
        if (buf_failed(json))
            status = err_set(e, ERR_NOMEM, "out of memory");
    }
    sqlite3_reset(stmt);
done:
    sqlite_store_done(c);
    return status;
}

/* The texts that a query of one job gives. */
static int read_texts(struct sqlite_conn *c, const char *sql, const char *id,
                      char ***texts, size_t *count, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, sql, &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "t", id);
    size_t capacity = 0;
    int step;
    while (!status && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        bool failed = false;
        if (step != SQLITE_ROW) {
            status = sqlite_conn_error(c, e);
            break;
        }
        char *text = sqlite_column_text(stmt, 0, &failed);
        if (!text || mem_grow(texts, &capacity, *count + 1, sizeof **texts)) {
            free(text);
            status = err_set(e, ERR_NOMEM, "out of memory");
        } else {
            (*texts)[(*count)++] = text;
        }
    }
    sqlite3_reset(stmt);
    return status;
}

static int read_windows(struct sqlite_conn *c, const char *id, struct store_resume *out,
                        struct err *e)
{
    int status = read_texts(
        c, "SELECT segments FROM job_windows WHERE job_id = ? ORDER BY position", id,
        &out->windows, &out->n_windows, e);
    return status ? status
                  : read_texts(c, "SELECT heard FROM job_ahead WHERE job_id = ?", id,
                               &out->ahead, &out->n_ahead, e);
}

static int read_resume(struct sqlite_conn *c, const char *id, struct store_resume *out,
                       struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c, "SELECT next_frame, language, language_probability FROM jobs WHERE id = ?",
        &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "t", id);
    int step = sqlite3_step(stmt);
    bool failed = false;
    if (step == SQLITE_ROW) {
        out->next_frame = sqlite3_column_int64(stmt, 0);
        out->language = sqlite_column_text(stmt, 1, &failed);
        out->language_probability = sqlite3_column_double(stmt, 2);
        if (failed)
            status = err_set(e, ERR_NOMEM, "out of memory");
    } else {
        status =
            step == SQLITE_DONE ? sqlite_no_such_job(e, id) : sqlite_conn_error(c, e);
    }
    sqlite3_reset(stmt);
    return status;
}

int sqlite_read_resume(struct store *s, const char *id, struct store_resume *out,
                       struct err *e)
{
    *out = (struct store_resume){0};
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_script(c, "BEGIN", e);
    if (!status)
        status = read_resume(c, id, out, e);
    if (!status)
        status = read_windows(c, id, out, e);
    (void)sqlite_conn_script(c, "ROLLBACK", NULL);
    sqlite_store_done(c);
    if (status)
        store_resume_release(out);
    return status;
}

/* By enum store_aged. */
#define AGED(which)                                                                      \
    "SELECT id FROM jobs WHERE completed_ms > 0 AND completed_ms < ? "                   \
    "AND status IN ('completed', 'failed', 'cancelled') AND NOT EXISTS "                 \
    "(SELECT 1 FROM job_holds WHERE job_id = jobs.id) AND " which                        \
    " ORDER BY completed_ms LIMIT ?"
static const char *const aged_sql[] = {
    [STORE_AGED_AUDIO] = AGED("retain_days = 0 AND audio_present"),
    [STORE_AGED_JOBS] = AGED("retain_days = 0"),
    [STORE_AGED_OWN] =
        AGED("retain_days > 0 AND completed_ms + retain_days * 86400000 < ?1"),
    [STORE_AGED_FLEETING_AUDIO] = AGED("retain_days < 0 AND audio_present"),
    [STORE_AGED_FLEETING_TEXT] = AGED("retain_days < 0 AND NOT erased"),
    [STORE_AGED_FLEETING_JOBS] = AGED("retain_days < 0"),
};

int sqlite_read_aged(struct store *s, enum store_aged what, int64_t before_ms,
                     char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e)
{
    *count = 0;
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = READER(s);
    int status = sqlite_conn_prepare(c, aged_sql[what], &stmt, e);
    if (status)
        goto done;
    sqlite_conn_bind(stmt, "ll", before_ms, (int64_t)max);
    status = sqlite_read_ids(c, stmt, ids, max, count, e);
    sqlite3_reset(stmt);
done:
    sqlite_store_done(c);
    return status;
}
