/* Copies of an SQLite file, beside whoever writes it: see snapshot.h. A reader of its own
 * keeps the moment, which holds up no writer (only the journal grows meanwhile); SQLite's
 * backup interface copies what that reader sees. */
#include "store/snapshot_ops.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/hold.h"
#include "store/sqlite_conn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/file.h>
#include <unistd.h>

#define SNAPSHOT(s) ((struct sqlite_snapshot *)(s))
#define BLOCK_BYTES (256u << 10)
#define PREFIX      "snapshot-"

struct sqlite_snapshot {
    struct snapshot base;
    char *path;  /* owned */
    int lock_fd; /* owned; the kernel drops the lock when the process ends */
    int schema;
    struct sqlite_conn reader, writer;
};

/* What a copy must not have, taken out of it: jobs that leave nothing behind, with all
 * that hangs on them; uploads that are not whole; who works, what is held, what the clock
 * was believed to be. Parts of recordings are not copied, so that they begin anew. */
static const char leave_out_sql[] =
    "CREATE TEMP TABLE leaves AS SELECT id FROM jobs WHERE NOT (" SNAPSHOT_KEPT ");"
    "DELETE FROM jobs WHERE id IN (SELECT id FROM leaves);"
    "DELETE FROM job_events WHERE job_id IN (SELECT id FROM leaves);"
    "DELETE FROM uploads WHERE NOT done;"
    "DELETE FROM workers;"
    "DELETE FROM settings WHERE name LIKE 'backup_%' OR name = 'clock';"
    "UPDATE job_sources SET received = 0, validator = '', state = '', taken = '' "
    "WHERE NOT fetched;";

static void close_snapshot(struct snapshot *base)
{
    struct sqlite_snapshot *s = SNAPSHOT(base);
    sqlite_conn_close(&s->reader);
    sqlite_conn_close(&s->writer);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->path);
    free(s);
}

static int take_lock(const char *path, struct err *e)
{
    char name[PATH_MAX];
    int n = snprintf(name, sizeof name, "%s.backup.lock", path);
    if (n < 0 || (size_t)n >= sizeof name)
        return err_set(e, ERR_INVALID, "the path of the database is too long");
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return err_errno(e, "cannot open the lock file %s", name);
    if (!flock(fd, LOCK_EX | LOCK_NB))
        return fd;
    int status = errno == EWOULDBLOCK
                     ? err_set(e, ERR_STATE,
                               "another backup of %s is running: let it end first", path)
                     : err_errno(e, "cannot lock %s", name);
    close(fd);
    return status;
}

static int ask(struct sqlite_conn *c, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, sql, &stmt, e);
    if (status)
        return status;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    else
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

static int judge(struct sqlite_snapshot *s, struct err *e)
{
    int64_t tables = 0, schema = 0;
    int status = ask(&s->reader,
                     "SELECT COUNT(*) FROM sqlite_master WHERE name IN "
                     "('schema_version', 'jobs')",
                     &tables, e);
    if (!status && tables < 2)
        return err_set(e, ERR_NOT_FOUND, "%s is no database of this program", s->path);
    if (!status)
        status = ask(&s->reader, "SELECT MAX(version) FROM schema_version", &schema, e);
    s->schema = (int)schema;
    if (!status && schema < SNAPSHOT_OLDEST_SQLITE)
        status = err_set(e, ERR_UNSUPPORTED,
                         "%s is of an older version: copy it with that one, or start a "
                         "service of this version first",
                         s->path);
    if (!status && schema > snapshot_newest_schema("sqlite"))
        status = err_set(e, ERR_UNSUPPORTED,
                         "the database %s was written by a newer version of this "
                         "program: use that one",
                         s->path);
    return status;
}

/* ---- settings -------------------------------------------------------------------- */

static int setting(struct snapshot *base, const char *name, struct buf *value,
                   struct err *e)
{
    struct sqlite_conn *c = &SNAPSHOT(base)->writer;
    sqlite3_stmt *stmt;
    pthread_mutex_lock(&c->lock);
    int status =
        sqlite_conn_prepare(c, "SELECT value FROM settings WHERE name = ?", &stmt, e);
    if (!status) {
        sqlite_conn_bind(stmt, "t", name);
        int step = sqlite3_step(stmt);
        if (step == SQLITE_ROW)
            buf_str(value, (const char *)sqlite3_column_text(stmt, 0));
        else
            status = step == SQLITE_DONE
                         ? err_set(e, ERR_NOT_FOUND, "%s was never set", name)
                         : sqlite_conn_error(c, e);
        sqlite3_reset(stmt);
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

static int set(struct snapshot *base, const char *name, const char *value, struct err *e)
{
    struct sqlite_conn *c = &SNAPSHOT(base)->writer;
    pthread_mutex_lock(&c->lock);
    int n =
        value ? sqlite_conn_run(c, e,
                                "INSERT INTO settings VALUES (?, ?) "
                                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                                "tt", name, value)
              : sqlite_conn_run(c, e, "DELETE FROM settings WHERE name = ?", "t", name);
    pthread_mutex_unlock(&c->lock);
    return n < 0 ? n : 0;
}

static int hold(struct snapshot *base, bool first, struct err *e)
{
    struct sqlite_conn *c = &SNAPSHOT(base)->writer;
    int64_t now_ms = clock_wall_ms();
    char until[24], now[24];
    (void)snprintf(until, sizeof until, "%" PRId64, now_ms + STORE_HOLD_MS);
    (void)snprintf(now, sizeof now, "%" PRId64, now_ms);
    if (first)
        return set(base, STORE_HOLD, until, e);
    pthread_mutex_lock(&c->lock);
    int n = sqlite_conn_run(c, e,
                            "UPDATE settings SET value = ? WHERE name = '" STORE_HOLD
                            "' AND CAST(value AS INTEGER) > CAST(? AS INTEGER)",
                            "tt", until, now);
    pthread_mutex_unlock(&c->lock);
    return n ? n < 0 ? n : 0
             : err_set(e, ERR_TIMEOUT,
                       "the copy took a pause of more than a minute: begin it again");
}

/* ---- the moment ------------------------------------------------------------------ */

static int list_files(struct sqlite_snapshot *s, struct snapshot_info *out, struct err *e)
{
    sqlite3_stmt *stmt;
    size_t capacity = 0;
    int step = SQLITE_ROW;
    int status = sqlite_conn_prepare(
        &s->reader,
        "SELECT id, sha256, file_bytes FROM jobs WHERE " SNAPSHOT_FILES " ORDER BY id",
        &stmt, e);
    if (status)
        return status;
    while (!status && (step = sqlite3_step(stmt)) == SQLITE_ROW)
        status = snapshot_add_file(
            out, &capacity, (const char *)sqlite3_column_text(stmt, 0),
            (const char *)sqlite3_column_text(stmt, 1), sqlite3_column_int64(stmt, 2), e);
    if (!status && step != SQLITE_DONE)
        status = sqlite_conn_error(&s->reader, e);
    sqlite3_reset(stmt);
    return status;
}

static int take(struct snapshot *base, struct snapshot_info *out, struct err *e)
{
    struct sqlite_snapshot *s = SNAPSHOT(base);
    struct snapshot_counts *n = &out->counts;
    out->kind = "sqlite";
    out->schema = s->schema;
    out->time_ms = clock_wall_ms();
    int status = sqlite_conn_script(&s->reader, "BEGIN", e);
    if (!status) /* the first that reads makes the moment */
        status = ask(&s->reader, "SELECT COUNT(*) FROM jobs WHERE " SNAPSHOT_KEPT,
                     &n->jobs, e);
    if (!status)
        status = ask(&s->reader,
                     "SELECT COUNT(*) FROM transcripts JOIN jobs ON id = job_id "
                     "WHERE " SNAPSHOT_KEPT,
                     &n->transcripts, e);
    if (!status)
        status = ask(&s->reader, "SELECT COUNT(*) FROM keys", &n->keys, e);
    return status ? status : list_files(s, out, e);
}

/* ---- its bytes ------------------------------------------------------------------- */

static int copy_pages(struct sqlite_snapshot *s, struct sqlite_conn *to, struct err *e)
{
    sqlite3_backup *b = sqlite3_backup_init(to->db, "main", s->reader.db, "main");
    int step = b ? sqlite3_backup_step(b, -1) : SQLITE_ERROR;
    int end = b ? sqlite3_backup_finish(b) : SQLITE_ERROR;
    if (step == SQLITE_DONE && end == SQLITE_OK)
        return 0;
    return sqlite_conn_error(to, e);
}

static int check(struct sqlite_conn *c, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, "PRAGMA integrity_check(1)", &stmt, e);
    if (status)
        return status;
    const char *verdict = sqlite3_step(stmt) == SQLITE_ROW
                              ? (const char *)sqlite3_column_text(stmt, 0)
                              : NULL;
    if (!verdict || strcmp(verdict, "ok") != 0)
        status = err_set(e, ERR_CORRUPT,
                         "the database is damaged (%.200s): no copy was made of it; "
                         "restore the last good one",
                         verdict ? verdict : sqlite3_errmsg(c->db));
    sqlite3_reset(stmt);
    return status;
}

/* The copy has one process, and is thrown away when it dies: no journal. */
static int make_copy(struct sqlite_snapshot *s, struct sqlite_conn *to, struct err *e)
{
    int status = sqlite_conn_script(
        to,
        "PRAGMA query_only=OFF; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
        "PRAGMA locking_mode=EXCLUSIVE",
        e);
    if (!status)
        status = copy_pages(s, to, e);
    if (!status) /* the header says "WAL" until this is asked again */
        status = sqlite_conn_script(to,
                                    "PRAGMA journal_mode=MEMORY; PRAGMA secure_delete=ON;"
                                    "PRAGMA foreign_keys=ON; BEGIN",
                                    e);
    if (!status)
        status = sqlite_conn_script(to, leave_out_sql, e);
    if (!status)
        status = sqlite_conn_script(to, "COMMIT", e);
    return status ? status : check(to, e);
}

static int hand_over(int fd, blob_data_fn data, void *arg, struct err *e)
{
    char *block = malloc(BLOCK_BYTES);
    int status = block ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    for (off_t at = 0; !status;) {
        ssize_t n = pread(fd, block, BLOCK_BYTES, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = err_errno(e, "cannot read the copy of the database");
        if (n <= 0)
            break;
        status = data(arg, block, (size_t)n, e);
        at += n;
    }
    free(block);
    return status;
}

/* What one that was killed has left: only one works at a time. A service that begins
 * clears its scratch folder, too. */
static void remove_left(const char *scratch)
{
    DIR *dir = opendir(scratch);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (!strncmp(entry->d_name, PREFIX, strlen(PREFIX)))
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
}

static int pour(struct snapshot *base, const char *scratch, blob_data_fn data, void *arg,
                struct err *e)
{
    char path[PATH_MAX];
    struct sqlite_conn to = {0};
    int n = snprintf(path, sizeof path, "%s/" PREFIX "XXXXXX", scratch);
    if (n < 0 || (size_t)n >= sizeof path - strlen("-journal"))
        return err_set(e, ERR_INVALID, "the name of the scratch folder is too long");
    remove_left(scratch);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot make a copy of the database in %s", scratch);
    int status = sqlite_conn_open(&to, path, false, e);
    if (!status)
        status = make_copy(SNAPSHOT(base), &to, e);
    if (status == ERR_FULL)
        (void)err_set(e, ERR_FULL,
                      "the disk of %s is full: a copy of the database needs as much "
                      "space there as the database has",
                      scratch);
    sqlite_conn_close(&to);
    if (!status)
        status = hand_over(fd, data, arg, e);
    unlink(path);
    remove_left(scratch); /* a journal, when it failed */
    close(fd);
    return status;
}

static const struct snapshot_ops ops = {
    .close = close_snapshot,
    .hold = hold,
    .take = take,
    .pour = pour,
    .setting = setting,
    .set = set,
};

int sqlite_snapshot_open(struct snapshot **out, const char *path, struct err *e)
{
    if (access(path, F_OK))
        return err_errno(e, "there is no database at %s", path);
    struct sqlite_snapshot *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        free(s);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    s->base.ops = &ops;
    s->lock_fd = take_lock(path, e);
    int status = s->lock_fd < 0 ? s->lock_fd : 0;
    if (!status)
        status = sqlite_conn_open(&s->writer, s->path, true, e);
    if (!status)
        status = sqlite_conn_open(&s->reader, s->path, false, e);
    if (!status)
        status = judge(s, e);
    if (status)
        close_snapshot(&s->base);
    else
        *out = &s->base;
    return status;
}
