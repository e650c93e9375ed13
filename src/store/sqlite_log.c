/* The log of changes, which triggers write: see schema_native.c. */
#include "store/sqlite_native.h"
#include "store/sqlite_read.h"

#include "base/mem.h"

void store_event_list_release(struct store_event_list *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->count; i++) {
        free(l->events[i].caller);
        free(l->events[i].filename);
        free(l->events[i].message);
    }
    free(l->events);
    *l = (struct store_event_list){0};
}

int sqlite_log_extent(struct store *s, struct store_log_extent *out, struct err *e)
{
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = sqlite_store_reader((struct sqlite_store *)s);
    int status = sqlite_conn_prepare(
        c,
        "SELECT f.number, MAX(f.number, COALESCE((SELECT seq FROM sqlite_sequence "
        "WHERE name = 'job_events'), 0)) FROM job_events_floor f",
        &stmt, e);
    if (!status) {
        if (sqlite3_step(stmt) == SQLITE_ROW)
            *out = (struct store_log_extent){sqlite3_column_int64(stmt, 0),
                                             sqlite3_column_int64(stmt, 1)};
        else
            status = sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    return status;
}

static char *text_of(sqlite3_stmt *stmt, int column)
{
    return mem_strdup((const char *)sqlite3_column_text(stmt, column));
}

static int read_event(struct sqlite_conn *c, sqlite3_stmt *stmt, struct store_event *out,
                      struct err *e)
{
    const char *id = (const char *)sqlite3_column_text(stmt, 1);
    const char *status = (const char *)sqlite3_column_text(stmt, 3);
    *out = (struct store_event){.number = sqlite3_column_int64(stmt, 0)};
    out->deleted = status && !strcmp(status, "deleted");
    if (!id_valid(id) || (!out->deleted && !job_status_parse(status, &out->status)))
        return err_set(e, ERR_CORRUPT, "the database %s holds an event that is none",
                       c->path);
    memcpy(out->job_id, id, ID_SIZE);
    out->caller = text_of(stmt, 2);
    out->progress = sqlite3_column_int(stmt, 4);
    out->message = text_of(stmt, 5);
    out->time_ms = sqlite3_column_int64(stmt, 6);
    out->filename = text_of(stmt, 7);
    bool has_name = sqlite3_column_type(stmt, 7) != SQLITE_NULL;
    if (out->caller && out->message && (out->filename || !has_name))
        return 0;
    return err_set(e, ERR_NOMEM, "out of memory");
}

static int read_events(struct sqlite_conn *c, sqlite3_stmt *stmt,
                       struct store_event_list *out, struct err *e)
{
    size_t capacity = 0;
    int step, status = 0;
    while (!status && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (step != SQLITE_ROW)
            status = sqlite_conn_error(c, e);
        else if (mem_grow(&out->events, &capacity, out->count + 1, sizeof *out->events))
            status = err_set(e, ERR_NOMEM, "out of memory");
        else
            status = read_event(c, stmt, &out->events[out->count++], e);
    }
    return status;
}

int sqlite_log_read(struct store *s, int64_t after, const char *caller, size_t max,
                    struct store_event_list *out, struct err *e)
{
    *out = (struct store_event_list){0};
    sqlite3_stmt *stmt;
    struct sqlite_conn *c = sqlite_store_reader((struct sqlite_store *)s);
    int status = sqlite_conn_prepare(
        c,
        "SELECT number, job_id, v.caller, v.status, v.progress, v.message, time_ms, "
        "original_filename FROM job_events v LEFT JOIN jobs j ON j.id = job_id "
        "WHERE number > ?1 AND (?2 IS NULL OR v.caller = ?2) ORDER BY number LIMIT ?3",
        &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "ltl", after, caller, (int64_t)max);
        status = read_events(c, stmt, out, e);
        sqlite3_reset(stmt);
    }
    sqlite_store_done(c);
    if (status)
        store_event_list_release(out);
    return status;
}

/* The greatest number that is to go; 0: none. */
static int last_to_go(struct sqlite_conn *c, int64_t before_ms, int64_t most,
                      int64_t *number, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c,
                                     "SELECT MAX(COALESCE((SELECT MAX(number) FROM "
                                     "job_events WHERE time_ms < ?1), 0), "
                                     "COALESCE((SELECT number FROM job_events ORDER BY "
                                     "number DESC LIMIT 1 OFFSET ?2), "
                                     "0))",
                                     &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "ll", before_ms, most);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *number = sqlite3_column_int64(stmt, 0);
    else
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

static int drop_lines(struct sqlite_conn *c, int64_t number, struct err *e)
{
    int n =
        sqlite_conn_run(c, e, "DELETE FROM job_events WHERE number <= ?", "l", number);
    if (n >= 0)
        n = sqlite_conn_run(c, e, "UPDATE job_events_floor SET number = MAX(number, ?)",
                            "l", number);
    return n < 0 ? n : 0;
}

int sqlite_log_trim(struct store *s, int64_t before_ms, int64_t most, struct err *e)
{
    int64_t number = 0;
    struct sqlite_conn *c = sqlite_store_writer((struct sqlite_store *)s);
    int status = last_to_go(c, before_ms, most, &number, e);
    if (!status && number > 0) {
        status = sqlite_conn_begin(c, e);
        if (!status)
            status = sqlite_conn_end(c, drop_lines(c, number, e), e);
    }
    sqlite_store_done(c);
    return status;
}
