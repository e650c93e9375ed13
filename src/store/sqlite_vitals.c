#include "store/vitals.h"

#include "base/clock.h"
#include "store/sqlite_conn.h"

#include <sys/stat.h>

static int64_t size_of(const char *path, const char *ending)
{
    char name[4096];
    struct stat st;
    int n = snprintf(name, sizeof name, "%s%s", path, ending);
    return n > 0 && (size_t)n < sizeof name && !stat(name, &st) ? (int64_t)st.st_size : 0;
}

/* A file may be gone while a connection still has it: the smallest question is one that
 * needs the file, and no more than its head. */
static int ask_little(struct sqlite_conn *c, double *seconds, struct err *e)
{
    sqlite3_stmt *stmt;
    int64_t begun_ns = clock_monotonic_ns();
    int status = sqlite_conn_prepare(c, "SELECT 1 FROM sqlite_schema LIMIT 1", &stmt, e);
    if (status)
        return status;
    if (sqlite3_step(stmt) != SQLITE_ROW)
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    *seconds = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    return status;
}

static int ask_counts(struct sqlite_conn *c, int64_t lease_now_ms,
                      struct store_vitals *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, STORE_VITALS_SQL("done = 0"), &stmt, e);
    if (status)
        return status;
    sqlite_conn_bind(stmt, "l", lease_now_ms);
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        out->leases = sqlite3_column_int64(stmt, 0);
        out->leases_lapsed = sqlite3_column_int64(stmt, 1);
        out->oldest_ms = sqlite3_column_int64(stmt, 2);
        out->notices = sqlite3_column_int64(stmt, 3);
        out->notices_failed = sqlite3_column_int64(stmt, 4);
        out->oldest_notice_ms = sqlite3_column_int64(stmt, 5);
        out->uploads = sqlite3_column_int64(stmt, 6);
        out->uploads_bytes = sqlite3_column_int64(stmt, 7);
    } else {
        status = sqlite_conn_error(c, e);
    }
    sqlite3_reset(stmt);
    return status;
}

/* Who has a connection holds its lock; ours is one of them. */
static int64_t count_busy(struct sqlite_store *s)
{
    int64_t busy = 0;
    for (int i = -1; i < SQLITE_STORE_READERS; i++) {
        struct sqlite_conn *c = i < 0 ? &s->writer : &s->readers[i];
        if (pthread_mutex_trylock(&c->lock))
            busy++;
        else
            pthread_mutex_unlock(&c->lock);
    }
    return busy;
}

static int look(struct store *base, int64_t lease_now_ms, struct store_vitals *out,
                struct err *e)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    *out = (struct store_vitals){.kind = "sqlite",
                                 .connections = count_busy(s),
                                 .connections_most = 1 + SQLITE_STORE_READERS,
                                 .size_bytes = size_of(s->path, ""),
                                 .journal_bytes = size_of(s->path, "-wal")};
    struct sqlite_conn *c = sqlite_store_reader(s);
    int status = ask_little(c, &out->answer_seconds, e);
    if (!status)
        status = ask_counts(c, lease_now_ms, out, e);
    sqlite_store_done(c);
    return status;
}

const struct store_vitals_ops sqlite_vitals_ops = {.look = look};
