/* Care for an SQLite file: see care.h. */
#include "store/care.h"

#include "base/fs.h"
#include "store/native.h"
#include "store/sqlite.h"
#include "store/sqlite_conn.h"
#include "store/sqlite_native.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define READER(s)    sqlite_store_reader((struct sqlite_store *)(s))
#define WRITER(s)    sqlite_store_writer((struct sqlite_store *)(s))
#define FINDINGS_MAX 100
/* What is written anew while a service waits, in a second or two. */
#define BESIDE_MOST_BYTES ((int64_t)128 << 20)

/* ---- check ----------------------------------------------------------------------- */

static int each_row(struct sqlite_conn *c, const char *sql, const char *what,
                    store_finding_fn fn, void *arg, struct err *e)
{
    sqlite3_stmt *stmt;
    char sentence[400];
    int step, status = sqlite_conn_prepare(c, sql, &stmt, e);
    if (status)
        return status;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (text && !strcmp(text, "ok"))
            continue;
        (void)snprintf(sentence, sizeof sentence, "%s: %.300s", what, text ? text : "?");
        fn(arg, sentence);
    }
    if (step != SQLITE_DONE)
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

/* The index of the search against itself; it says that it is damaged, and no more. */
static int check_search(struct sqlite_conn *c, store_finding_fn fn, void *arg,
                        struct err *e)
{
    int n = sqlite_conn_run(
        c, e, "INSERT INTO job_search (job_search) VALUES ('integrity-check')", "");
    if (n == ERR_CORRUPT) {
        fn(arg, "the index of the search is damaged: nothing is lost but searches");
        return 0;
    }
    return n < 0 ? n : 0;
}

static int check(struct store *s, bool quick, store_finding_fn fn, void *arg,
                 struct err *e)
{
    struct sqlite_conn *c = READER(s);
    int status =
        each_row(c, quick ? "PRAGMA quick_check(100)" : "PRAGMA integrity_check(100)",
                 "the database's pages", fn, arg, e);
    if (!status)
        status =
            each_row(c,
                     "SELECT \"table\" || ' row ' || COALESCE(rowid, '?') || ' names "
                     "a row of ' || parent || ' that is not there' FROM "
                     "pragma_foreign_key_check LIMIT 100",
                     "a reference", fn, arg, e);
    sqlite_store_done(c);
    if (status)
        return status;
    c = WRITER(s);
    status = check_search(c, fn, arg, e);
    sqlite_store_done(c);
    return status;
}

/* ---- vacuum ---------------------------------------------------------------------- */

static int64_t bytes_of(const char *path)
{
    struct stat st;
    char wal[PATH_MAX];
    int64_t sum = stat(path, &st) ? 0 : st.st_size;
    int n = snprintf(wal, sizeof wal, "%s-wal", path);
    return sum + (n < 0 || (size_t)n >= sizeof wal || stat(wal, &st) ? 0 : st.st_size);
}

/* It is written twice, beside itself and into the journal. */
static int need_room(const char *path, int64_t bytes, struct err *e)
{
    uint64_t free_bytes;
    int status = fs_free_bytes(path, &free_bytes, e);
    if (!status && free_bytes < 2 * (uint64_t)bytes + (UINT64_C(16) << 20))
        status = err_set(e, ERR_FULL,
                         "there is no room to write the database %s anew: %llu MB are "
                         "needed for a while",
                         path, (unsigned long long)(2 * bytes >> 20) + 16);
    return status;
}

/* The copy lies beside the file, without a name, and not in memory, as else. */
static int write_anew(struct sqlite_conn *c, struct err *e)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(c->path, '/');
    size_t n = slash ? (size_t)(slash - c->path) : 0;
    if (n && n < sizeof folder) {
        memcpy(folder, c->path, n);
        folder[n] = '\0';
        (void)setenv("SQLITE_TMPDIR", folder, 1);
    }
    int status = sqlite_conn_script(c, "PRAGMA temp_store=FILE; VACUUM", e);
    (void)sqlite_conn_script(c, "PRAGMA temp_store=MEMORY", NULL);
    return status;
}

static int vacuum(struct store *s, struct store_vacuumed *out, struct err *e)
{
    struct sqlite_store *store = (struct sqlite_store *)s;
    bool more = false;
    int status = 0;
    *out = (struct store_vacuumed){.before_bytes = bytes_of(store->path)};
    do
        status = store_tidy(s, &more, e);
    while (!status && more);
    out->whole =
        !sqlite_store_in_use(store->path) || out->before_bytes <= BESIDE_MOST_BYTES;
    if (!status && out->whole)
        status = need_room(store->path, out->before_bytes, e);
    if (status)
        return status;
    struct sqlite_conn *c = WRITER(s);
    if (out->whole)
        status = write_anew(c, e);
    if (!status)
        status = sqlite_conn_script(c, "PRAGMA analysis_limit=1000; PRAGMA optimize", e);
    sqlite_store_done(c);
    if (!status)
        status = store_scrub(s, e);
    out->after_bytes = bytes_of(store->path);
    return status == ERR_TIMEOUT ? 0 : status; /* the service's journal goes later */
}

const struct store_care_ops sqlite_care_ops = {.check = check, .vacuum = vacuum};
