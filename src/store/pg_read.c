/* What the store answers, in PostgreSQL's SQL: see store.h for what each answers. */
#include "store/pg_jobs.h"
#include "store/pg_search.h"

#include "base/mem.h"

/* In the order that read_job expects. */
#define JOB_COLUMNS                                                                      \
    "id, status, attempt, original_filename, filename, model, language_asked, "          \
    "language, task, options, error_message, error_code, message, created_ms, "          \
    "started_ms, completed_ms, file_bytes, duration_seconds, progress, audio_present, "  \
    "caller, priority, retain_days, erased"
#define COLUMN_TRANSCRIPT 24 /* and the report behind it */
#define COLUMN_TOTAL      24 /* in a list */

int pg_no_such_job(struct err *e, const char *id)
{
    return err_set(e, ERR_NOT_FOUND, "there is no job %.36s", id);
}

static int read_job(struct pg_conn *c, const PGresult *r, int row, struct job *j,
                    struct err *e)
{
    *j = (struct job){0};
    bool failed = false;
    if (!id_valid(pg_text(r, row, 0)) ||
        !job_status_parse(pg_text(r, row, 1), &j->status))
        return err_set(e, ERR_CORRUPT,
                       "%s holds a job that is none: restore it from a backup",
                       c->place->name);
    pg_copy_to(r, row, 0, j->id, sizeof j->id);
    j->attempt = (int)pg_int(r, row, 2);
    j->original_filename = pg_copy(r, row, 3, &failed);
    j->filename = pg_copy(r, row, 4, &failed);
    j->model = pg_copy(r, row, 5, &failed);
    j->language_asked = pg_copy(r, row, 6, &failed);
    j->language = pg_copy(r, row, 7, &failed);
    j->task = pg_copy(r, row, 8, &failed);
    j->options = pg_copy(r, row, 9, &failed);
    j->error_message = pg_copy(r, row, 10, &failed);
    j->error_code = pg_copy(r, row, 11, &failed);
    j->message = pg_copy(r, row, 12, &failed);
    j->created_ms = pg_int(r, row, 13);
    j->started_ms = pg_int(r, row, 14);
    j->completed_ms = pg_int(r, row, 15);
    j->file_bytes = pg_int(r, row, 16);
    j->duration_seconds = pg_double(r, row, 17);
    j->progress = (int)pg_int(r, row, 18);
    j->audio_present = pg_bool(r, row, 19);
    j->caller = pg_copy(r, row, 20, &failed);
    j->priority = (int)pg_int(r, row, 21);
    j->retain_days = (int)pg_int(r, row, 22);
    j->erased = pg_bool(r, row, 23);
    if (PQnfields(r) > COLUMN_TRANSCRIPT + 1) {
        j->transcript_text = pg_copy(r, row, COLUMN_TRANSCRIPT, &failed);
        j->quality = pg_copy(r, row, COLUMN_TRANSCRIPT + 1, &failed);
    }
    if (!failed)
        return 0;
    job_release(j);
    return err_set(e, ERR_NOMEM, "out of memory");
}

int pg_get_with(struct pg_conn *c, const char *id, struct job *out, struct err *e)
{
    PGresult *r;
    int status = pg_ask(c, &r, e,
                        "SELECT " JOB_COLUMNS ", body, quality FROM jobs "
                        "LEFT JOIN transcripts ON job_id = id WHERE id = $1",
                        "t", id);
    if (!status)
        status = PQntuples(r) ? read_job(c, r, 0, out, e) : pg_no_such_job(e, id);
    PQclear(r);
    return status;
}

int pg_read_get(struct store *s, const char *id, struct job *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e))
        status = pg_get_with(t.conn, id, out, e);
    return status;
}

/* ---- lists ----------------------------------------------------------------------- */

/* What is asked for, as a condition and its parameters. */
struct matches {
    struct buf where;
    const char *values[PG_SEARCH_PARTS + 4]; /* borrowed [count] */
    size_t count;
};

static void add_condition(struct matches *m, const char *before, const char *value,
                          const char *behind)
{
    m->values[m->count++] = value;
    buf_printf(&m->where, "%s%s$%zu%s", m->count > 1 ? " AND " : " WHERE ", before,
               m->count, behind);
}

static void gather(struct matches *m, const struct job_filter *f,
                   const struct pg_search *q)
{
    buf_init(&m->where, 65536);
    m->count = 0;
    if (f->by_status)
        add_condition(m, "status = ", job_status_name(f->status), "");
    if (f->caller)
        add_condition(m, "caller = ", f->caller, "");
    for (size_t i = 0; i < q->count; i++)
        add_condition(m, "id IN (SELECT job_id FROM job_words WHERE words @@ ",
                      q->parts[i], "::tsquery)");
}

static int count_matches(struct pg_conn *c, const struct matches *m, int64_t *total,
                         struct err *e)
{
    PGresult *r = NULL;
    struct buf sql;
    buf_init(&sql, 65536);
    buf_printf(&sql, "SELECT count(*) FROM jobs%s", buf_cstr(&m->where));
    int status = buf_failed(&sql)
                     ? err_set(e, ERR_NOMEM, "out of memory")
                     : pg_ask_texts(c, &r, e, buf_cstr(&sql), m->values, m->count);
    if (!status)
        *total = pg_int(r, 0, 0);
    PQclear(r);
    buf_release(&sql);
    return status;
}

static int read_rows(struct pg_conn *c, const PGresult *r, struct job_list *out,
                     struct err *e)
{
    int n = PQntuples(r), status = 0;
    if (!n)
        return 0;
    out->jobs = mem_array((size_t)n, sizeof *out->jobs);
    if (!out->jobs)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; !status && i < n; i++) {
        status = read_job(c, r, i, &out->jobs[out->count], e);
        out->count += !status;
    }
    return status;
}

static int read_matches(struct pg_conn *c, const struct matches *m,
                        const struct job_filter *f, bool searching, struct job_list *out,
                        struct err *e)
{
    PGresult *r = NULL;
    struct buf sql;
    buf_init(&sql, 65536);
    /* What is searched for is looked for once, and counted; of the other jobs no more are
     * read than are shown. */
    buf_printf(&sql,
               "SELECT " JOB_COLUMNS ", total FROM (SELECT id AS hit, %s AS total "
               "FROM jobs%s ORDER BY created_ms DESC, id DESC LIMIT %lld OFFSET %lld) h "
               "JOIN jobs ON id = hit ORDER BY created_ms DESC, id DESC",
               searching ? "count(*) OVER ()" : "0", buf_cstr(&m->where),
               (long long)f->limit, (long long)f->offset);
    int status = buf_failed(&sql)
                     ? err_set(e, ERR_NOMEM, "out of memory")
                     : pg_ask_texts(c, &r, e, buf_cstr(&sql), m->values, m->count);
    if (!status)
        status = read_rows(c, r, out, e);
    if (!status && out->count)
        out->total = pg_int(r, 0, COLUMN_TOTAL);
    PQclear(r);
    buf_release(&sql);
    return status;
}

static int list(struct store *s, const struct job_filter *f, const struct pg_search *q,
                struct job_list *out, struct err *e)
{
    int status;
    struct matches m;
    gather(&m, f, q);
    struct pg_turn t = pg_begin(s, PG_SNAPSHOT);
    while (pg_turn(&t, &status, e)) {
        job_list_release(out);
        status = read_matches(t.conn, &m, f, q->count > 0, out, e);
        /* Behind the last page there is no row to tell how many there are. */
        if (!status && (!q->count || (!out->count && f->offset)))
            status = count_matches(t.conn, &m, &out->total, e);
    }
    buf_release(&m.where);
    return status;
}

int pg_read_list(struct store *s, const struct job_filter *f, struct job_list *out,
                 struct err *e)
{
    struct pg_search q = {0};
    *out = (struct job_list){0};
    if (f->limit < 0 || f->offset < 0)
        return err_set(e, ERR_INVALID, "limit and offset cannot be negative");
    bool searching = f->search && *f->search;
    int status = searching ? pg_search_init(&q, (struct pg_store *)s, f->search, e) : 0;
    if (!status && (!searching || q.count)) /* what has no word is in no text */
        status = list(s, f, &q, out, e);
    pg_search_release(&q);
    if (status)
        job_list_release(out);
    return status;
}

/* ---- transcripts and checkpoints ------------------------------------------------- */

static int read_transcript(const PGresult *r, const char *id, struct buf *json,
                           struct err *e)
{
    if (!PQntuples(r))
        return pg_no_such_job(e, id);
    if (PQgetisnull(r, 0, 1))
        return err_set(e, ERR_STATE, "the job is %s: there is no transcript yet",
                       pg_text(r, 0, 0));
    buf_add(json, pg_text(r, 0, 1), (size_t)PQgetlength(r, 0, 1));
    return buf_failed(json) ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

int pg_read_transcript(struct store *s, const char *id, struct buf *json, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT status, json FROM jobs LEFT JOIN transcripts "
                        "ON job_id = id WHERE id = $1",
                        "t", id);
        if (!status)
            status = read_transcript(r, id, json, e);
        PQclear(r);
    }
    return status;
}

/* The texts that a query of one job gives. */
static int read_texts(struct pg_conn *c, const char *sql, const char *id, char ***texts,
                      size_t *count, struct err *e)
{
    PGresult *r;
    bool failed = false;
    int status = pg_ask(c, &r, e, sql, "t", id);
    int n = status ? 0 : PQntuples(r);
    if (n && !(*texts = mem_array((size_t)n, sizeof **texts)))
        failed = true;
    for (int i = 0; i < n && !failed; i++) {
        (*texts)[*count] = pg_copy(r, i, 0, &failed);
        *count += !failed;
    }
    PQclear(r);
    return failed ? err_set(e, ERR_NOMEM, "out of memory") : status;
}

static int read_windows(struct pg_conn *c, const char *id, struct store_resume *out,
                        struct err *e)
{
    int status = read_texts(
        c, "SELECT segments FROM job_windows WHERE job_id = $1 ORDER BY position", id,
        &out->windows, &out->n_windows, e);
    return status ? status
                  : read_texts(c, "SELECT heard FROM job_ahead WHERE job_id = $1", id,
                               &out->ahead, &out->n_ahead, e);
}

static int read_resume(struct pg_conn *c, const char *id, struct store_resume *out,
                       struct err *e)
{
    PGresult *r;
    bool failed = false;
    int status = pg_ask(c, &r, e,
                        "SELECT next_frame, language, language_probability FROM jobs "
                        "WHERE id = $1",
                        "t", id);
    if (!status && !PQntuples(r))
        status = pg_no_such_job(e, id);
    if (!status) {
        out->next_frame = pg_int(r, 0, 0);
        out->language = pg_copy(r, 0, 1, &failed);
        out->language_probability = pg_double(r, 0, 2);
        if (failed)
            status = err_set(e, ERR_NOMEM, "out of memory");
    }
    PQclear(r);
    return status;
}

int pg_read_resume(struct store *s, const char *id, struct store_resume *out,
                   struct err *e)
{
    int status;
    *out = (struct store_resume){0};
    struct pg_turn t = pg_begin(s, PG_SNAPSHOT);
    while (pg_turn(&t, &status, e)) {
        store_resume_release(out);
        status = read_resume(t.conn, id, out, e);
        if (!status)
            status = read_windows(t.conn, id, out, e);
    }
    if (status)
        store_resume_release(out);
    return status;
}

/* ---- what is old ----------------------------------------------------------------- */

/* By enum store_aged. */
#define AGED(which)                                                                      \
    "SELECT id FROM jobs WHERE completed_ms > 0 AND completed_ms < $1 "                  \
    "AND status IN ('completed', 'failed', 'cancelled') AND NOT EXISTS "                 \
    "(SELECT 1 FROM job_holds WHERE job_id = jobs.id) AND " which                        \
    " ORDER BY completed_ms LIMIT $2"
static const char *const aged_sql[] = {
    [STORE_AGED_AUDIO] = AGED("retain_days = 0 AND audio_present"),
    [STORE_AGED_JOBS] = AGED("retain_days = 0"),
    [STORE_AGED_OWN] =
        AGED("retain_days > 0 AND completed_ms + retain_days * 86400000::bigint < $1"),
    [STORE_AGED_FLEETING_AUDIO] = AGED("retain_days < 0 AND audio_present"),
    [STORE_AGED_FLEETING_TEXT] = AGED("retain_days < 0 AND NOT erased"),
    [STORE_AGED_FLEETING_JOBS] = AGED("retain_days < 0"),
};

void pg_read_ids(const PGresult *r, char (*ids)[ID_SIZE], size_t max, size_t *count)
{
    *count = 0;
    for (int i = 0; i < PQntuples(r) && *count < max; i++)
        if (id_valid(pg_text(r, i, 0)))
            pg_copy_to(r, i, 0, ids[(*count)++], ID_SIZE);
}

int pg_read_aged(struct store *s, enum store_aged what, int64_t before_ms,
                 char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e)
{
    int status;
    *count = 0;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e, aged_sql[what], "ll", before_ms, (int64_t)max);
        if (!status)
            pg_read_ids(r, ids, max, count);
        PQclear(r);
    }
    return status;
}
