/* An SQLite file from a copy: written beside its place, checked, and renamed. */
#include "store/snapshot_ops.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/sqlite_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define REBUILD(r) ((struct sqlite_rebuild *)(r))

struct sqlite_rebuild {
    struct rebuild base;
    char place[PATH_MAX], part[PATH_MAX];
    bool scratch;
    int fd, lock_fd; /* owned; -1: none */
};

static int name_of(char out[PATH_MAX], const char *path, const char *suffix,
                   struct err *e)
{
    int n = snprintf(out, PATH_MAX, "%s%s", path, suffix);
    return n < 0 || n >= PATH_MAX
               ? err_set(e, ERR_INVALID, "the path of the database is too long")
               : 0;
}

/* The lock that a `serve` holds for as long as it runs. */
static int take_lock(const char *path, struct err *e)
{
    char name[PATH_MAX];
    int status = name_of(name, path, ".lock", e);
    if (status)
        return status;
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return err_errno(e, "cannot open the lock file %s", name);
    if (!flock(fd, LOCK_EX | LOCK_NB))
        return fd;
    status = errno == EWOULDBLOCK ? err_set(e, ERR_STATE,
                                            "the database %s is used by a running "
                                            "service: stop it first",
                                            path)
                                  : err_errno(e, "cannot lock %s", name);
    close(fd);
    return status;
}

static int make_folder(const char *path, struct err *e)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    return fs_mkdirs(folder, e);
}

int sqlite_rebuild_look(const char *path, bool *there, struct err *e)
{
    struct stat st;
    if (stat(path, &st)) /* nor is it made: looking changes nothing */
        return 0;
    int fd = take_lock(path, e);
    if (fd < 0)
        return fd;
    close(fd);
    *there = st.st_size > 0;
    return 0;
}

/* ---- writing and looking --------------------------------------------------------- */

static int write_some(struct rebuild *base, const void *bytes, size_t length,
                      struct err *e)
{
    struct sqlite_rebuild *r = REBUILD(base);
    int status = fs_write_all(r->fd, bytes, length, e);
    return status ? err_prefix(e, "the database cannot be written to %s", r->part) : 0;
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

static int is_sound(struct sqlite_conn *c, struct err *e)
{
    int64_t problems = 0;
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, "PRAGMA integrity_check(1)", &stmt, e);
    if (status)
        return status;
    const char *verdict = sqlite3_step(stmt) == SQLITE_ROW
                              ? (const char *)sqlite3_column_text(stmt, 0)
                              : NULL;
    if (!verdict || strcmp(verdict, "ok") != 0)
        status = err_set(e, ERR_CORRUPT, "the copied database is damaged: %.200s",
                         verdict ? verdict : sqlite3_errmsg(c->db));
    sqlite3_reset(stmt);
    if (!status)
        status = ask(c, "SELECT COUNT(*) FROM pragma_foreign_key_check()", &problems, e);
    if (!status && problems)
        status =
            err_set(e, ERR_CORRUPT,
                    "the copied database has %" PRId64 " row(s) of nothing", problems);
    return status;
}

static int try_transcript(struct sqlite_conn *c, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(
        c, "SELECT json FROM transcripts ORDER BY job_id DESC LIMIT 1", &stmt, e);
    if (!status && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        json_t *o = text ? json_loads(text, 0, NULL) : NULL;
        if (!json_is_object(o))
            status = err_set(e, ERR_CORRUPT, "a transcript in the copy cannot be read");
        json_decref(o);
    }
    if (!status || stmt)
        sqlite3_reset(stmt);
    return status;
}

/* Whoever renames it has no journal beside it. */
static int settle(struct sqlite_conn *c, struct err *e)
{
    char sql[300];
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA query_only=OFF;"
                   "UPDATE webhook_outbox SET state = 'failed', error = "
                   "'not sent: it was restored from an older copy' "
                   "WHERE state = 'waiting' AND created_ms < %" PRId64 ";",
                   clock_wall_ms() - REBUILD_NOTICES_MS);
    return sqlite_conn_script(c, sql, e);
}

static int check(struct rebuild *base, struct snapshot_counts *n, struct err *e)
{
    struct sqlite_rebuild *r = REBUILD(base);
    struct sqlite_conn c;
    int status = sqlite_conn_open(&c, r->part, false, e);
    if (status)
        return status == ERR_CORRUPT
                   ? err_set(e, ERR_CORRUPT, "the copy of the database is no database")
                   : status;
    status = is_sound(&c, e);
    if (!status)
        status = ask(&c, "SELECT COUNT(*) FROM jobs", &n->jobs, e);
    if (!status)
        status = ask(&c, "SELECT COUNT(*) FROM transcripts", &n->transcripts, e);
    if (!status)
        status = ask(&c, "SELECT COUNT(*) FROM keys", &n->keys, e);
    if (!status)
        status = try_transcript(&c, e);
    if (!status && !r->scratch)
        status = settle(&c, e);
    sqlite_conn_close(&c);
    return status;
}

/* ---- taking the place ------------------------------------------------------------ */

/* What is in the journal goes into the file, and the journal goes: it must never meet
 * another file. A database that is too damaged for that has its journal put beside it. */
static int fold_journal(const struct sqlite_rebuild *r, const char *aside, struct err *e)
{
    static const char *const suffixes[] = {"-wal", "-shm"};
    char from[PATH_MAX], to[PATH_MAX];
    struct sqlite_conn c;
    if (!access(r->place, F_OK) && !sqlite_conn_open(&c, r->place, true, NULL)) {
        (void)sqlite_conn_script(&c, "PRAGMA journal_mode=DELETE", NULL);
        sqlite_conn_close(&c);
    }
    int status = 0;
    for (size_t i = 0; !status && i < ARRAY_LENGTH(suffixes); i++) {
        status = name_of(from, r->place, suffixes[i], e);
        if (!status)
            status = name_of(to, aside, suffixes[i], e);
        if (!status && rename(from, to) && errno != ENOENT)
            status = err_errno(e, "cannot move %s aside", from);
    }
    return status;
}

static int commit(struct rebuild *base, struct buf *aside, struct err *e)
{
    struct sqlite_rebuild *r = REBUILD(base);
    char old[PATH_MAX], stamp[40];
    bool there = !access(r->place, F_OK);
    (void)snprintf(stamp, sizeof stamp, ".before-%" PRId64, clock_wall_ms());
    int status = name_of(old, r->place, stamp, e);
    if (!status && fsync(r->fd))
        status = err_errno(e, "cannot sync %s", r->part);
    if (!status)
        status = fold_journal(r, old, e);
    if (!status && there && link(r->place, old))
        status = err_errno(e, "cannot keep the former database as %s", old);
    if (!status)
        status = fs_rename_durable(r->part, r->place, e);
    if (!status && there)
        buf_str(aside, old);
    return status;
}

static void close_rebuild(struct rebuild *base)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    struct sqlite_rebuild *r = REBUILD(base);
    char path[PATH_MAX];
    for (size_t i = 0; r->part[0] && i < ARRAY_LENGTH(suffixes); i++)
        if (!name_of(path, r->part, suffixes[i], NULL))
            unlink(path);
    if (r->fd >= 0)
        close(r->fd);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    free(r);
}

static int begin(struct sqlite_rebuild *r, const char *path, const char *scratch,
                 struct err *e)
{
    char folder[PATH_MAX];
    int status = name_of(r->place, path, "", e);
    if (!status && scratch)
        status = name_of(folder, scratch, "/drill-XXXXXX", e);
    if (!status && scratch) {
        r->fd = mkostemp(folder, O_CLOEXEC);
        if (r->fd < 0)
            return err_errno(e, "cannot write to the scratch folder %s", scratch);
        (void)snprintf(r->part, sizeof r->part, "%s", folder);
        return 0;
    }
    if (!status)
        status = make_folder(path, e);
    if (!status && (r->lock_fd = take_lock(path, e)) < 0)
        status = r->lock_fd;
    if (!status)
        status = name_of(r->part, path, ".restoring", e);
    if (status) {
        r->part[0] = '\0';
        return status;
    }
    unlink(r->part); /* of one that was killed */
    r->fd = open(r->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    return r->fd < 0 ? err_errno(e, "cannot write %s", r->part) : 0;
}

static const struct rebuild_ops ops = {
    .write = write_some,
    .check = check,
    .commit = commit,
    .close = close_rebuild,
};

int sqlite_rebuild_open(struct rebuild **out, const char *path, const char *scratch,
                        struct err *e)
{
    struct sqlite_rebuild *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "out of memory");
    r->base.ops = &ops;
    r->scratch = scratch != NULL;
    r->fd = r->lock_fd = -1;
    int status = begin(r, path, scratch, e);
    if (status)
        close_rebuild(&r->base);
    else
        *out = &r->base;
    return status;
}
