#include "store/sqlite.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/migrations.h"
#include "store/schema.h"
#include "store/sqlite_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_TRIES    5
#define LOCK_PAUSE_NS 20000000

static int make_folder_of(const char *path, struct err *e)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    size_t length = (size_t)(slash - path);
    if (length >= sizeof folder)
        return err_set(e, ERR_INVALID, "the path of the database is too long");
    memcpy(folder, path, length);
    folder[length] = '\0';
    return fs_mkdirs(folder, e);
}

/* Transcripts are private: SQLite would make the file readable for everyone, and gives
 * its log the same rights as the file. */
static int make_private(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_errno(e, "cannot open the database %s", path);
    close(fd);
    return 0;
}

/* One `serve` per database, kept by a lock that the kernel drops when the process ends.
 */
static int take_lock(const char *path, struct err *e)
{
    char name[PATH_MAX];
    int n = snprintf(name, sizeof name, "%s.lock", path);
    if (n < 0 || (size_t)n >= sizeof name)
        return err_set(e, ERR_INVALID, "the path of the database is too long");
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_errno(e, "cannot open the lock file %s", name);
    /* Who only looks whether it is taken has it for a moment. */
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (!flock(fd, LOCK_EX | LOCK_NB))
            return fd;
        if (errno != EWOULDBLOCK)
            break;
        nanosleep(&pause, NULL);
        errno = EWOULDBLOCK;
    }
    int status = errno == EWOULDBLOCK
                     ? err_set(e, ERR_STATE,
                               "the database %s is used by another running service: stop "
                               "that one, or give this one its own DATABASE_URL",
                               path)
                     : err_errno(e, "cannot lock %s", name);
    close(fd);
    return status;
}

/* Damage is found when the service starts, not when a job is half done. */
static int check_integrity(struct sqlite_conn *c, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, "PRAGMA quick_check(1)", &stmt, e);
    if (status)
        return status;
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        status = sqlite_conn_error(c, e);
    } else {
        const char *verdict = (const char *)sqlite3_column_text(stmt, 0);
        if (!verdict || strcmp(verdict, "ok") != 0)
            status =
                err_set(e, ERR_CORRUPT,
                        "the database %s is damaged (%.120s): stop the service, move "
                        "the file away and restore it from a backup",
                        c->path, verdict ? verdict : "unknown");
    }
    sqlite3_reset(stmt);
    return status;
}

static int migrate(struct sqlite_store *s, struct err *e)
{
    size_t count;
    const struct migration *steps = migrations_all(&count);
    bool pending = false;
    int status = migrations_pending(&s->writer, steps, count, &pending, e);
    if (status || !pending)
        return status;
    /* A command beside a running service of another version must not change the ground
     * under it. */
    int fd = s->lock_fd < 0 ? take_lock(s->path, e) : -1;
    if (s->lock_fd < 0 && fd < 0)
        return err_prefix(e, "the database is of an older version");
    status = migrations_apply(&s->writer, steps, count, clock_now_ms(), e);
    if (fd >= 0)
        close(fd);
    return status;
}

/* The service looks for damage when it starts; a command that stays for a moment does
 * not: reading the whole file would be all that it does. */
static int open_writer(struct sqlite_store *s, bool exclusive, struct err *e)
{
    int status = sqlite_conn_open(&s->writer, s->path, true, e);
    if (!status && exclusive)
        status = check_integrity(&s->writer, e);
    return status ? status : migrate(s, e);
}

int sqlite_store_open(struct store **out, const char *path,
                      const struct store_options *options, struct err *e)
{
    *out = NULL;
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        free(s);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    s->base.ops = &sqlite_store_ops;
    s->lock_fd = -1;
    int status = make_folder_of(path, e);
    if (!status && options->exclusive) {
        int fd = take_lock(path, e);
        if (fd < 0)
            status = fd;
        else
            s->lock_fd = fd;
    }
    if (!status)
        status = make_private(path, e);
    if (!status)
        status = open_writer(s, options->exclusive, e);
    for (size_t i = 0; !status && i < ARRAY_LENGTH(s->readers); i++)
        status = sqlite_conn_open(&s->readers[i], s->path, false, e);
    if (!status)
        status = sqlite_clock_open(s, e);
    if (status) {
        sqlite_store_ops.close(&s->base);
        return status;
    }
    s->writer.damaged = &s->damaged;
    for (size_t i = 0; i < SQLITE_STORE_READERS; i++)
        s->readers[i].damaged = &s->damaged;
    *out = &s->base;
    return 0;
}

/* ---- the schema ------------------------------------------------------------------ */

static int open_to_look(struct sqlite_conn *c, const char *path, struct err *e)
{
    if (access(path, F_OK))
        return err_set(e, ERR_NOT_FOUND, "there is no database at %s", path);
    return sqlite_conn_open(c, path, true, e);
}

int sqlite_schema_look(const char *path, struct store_schema *out, struct err *e)
{
    size_t count;
    const struct migration *steps = migrations_all(&count);
    struct sqlite_conn c = {0};
    int status = open_to_look(&c, path, e);
    if (!status)
        status = migrations_look(&c, steps, count, out, e);
    sqlite_conn_close(&c);
    if (!status)
        out->running = sqlite_store_in_use(path);
    return status;
}

bool sqlite_store_in_use(const char *path)
{
    char name[PATH_MAX];
    int n = snprintf(name, sizeof name, "%s.lock", path);
    int fd = n < 0 || (size_t)n >= sizeof name ? -1 : open(name, O_RDONLY | O_CLOEXEC);
    bool used = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB);
    if (fd >= 0)
        close(fd);
    return used;
}

static int move_to(struct sqlite_conn *c, int to, struct err *e)
{
    size_t count, upto = 0;
    const struct migration *steps = migrations_all(&count);
    struct store_schema now;
    int status = migrations_look(c, steps, count, &now, e);
    if (status)
        return status;
    while (upto < count && steps[upto].version <= to)
        upto++;
    if (!upto || steps[upto - 1].version != to)
        return err_set(e, ERR_INVALID, "there is no schema %d: the newest is %d", to,
                       now.known);
    return to < now.version ? migrations_undo(c, steps, count, to, e)
                            : migrations_apply(c, steps, upto, clock_now_ms(), e);
}

int sqlite_schema_move(const char *path, int to, struct err *e)
{
    struct sqlite_conn c = {0};
    int fd = take_lock(path, e);
    if (fd < 0)
        return fd;
    int status = open_to_look(&c, path, e);
    if (!status)
        status = move_to(&c, to, e);
    sqlite_conn_close(&c);
    close(fd);
    return status;
}
