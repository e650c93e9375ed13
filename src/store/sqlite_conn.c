#include "store/sqlite_conn.h"

#include "base/mem.h"
#include "store/sqlite_disk.h"
#include "store/sqlite_words.h"

#include <errno.h>
#include <stdarg.h>

#define BUSY_TIMEOUT_MS 10000

/* WAL lets readers go on beside the writer. FULL syncs the log at every commit: what was
 * accepted survives a power cut. secure_delete: a deleted transcript is gone from the
 * file as well. */
static const char writer_pragmas[] = "PRAGMA synchronous=FULL;"
                                     "PRAGMA foreign_keys=ON;"
                                     "PRAGMA secure_delete=ON;"
                                     "PRAGMA journal_size_limit=67108864;"
                                     "PRAGMA temp_store=MEMORY;";
/* Made when a connection is opened: it must be there when there is no memory for it. */
static const char rollback[] = "ROLLBACK";
static const char reader_pragmas[] = "PRAGMA query_only=ON;"
                                     "PRAGMA temp_store=MEMORY;";

static int use_wal(struct sqlite_conn *c, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, "PRAGMA journal_mode=WAL", &stmt, e);
    if (status)
        return status;
    if (sqlite3_step(stmt) != SQLITE_ROW)
        status = sqlite_conn_error(c, e);
    else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") != 0)
        status = err_set(e, ERR_UNSUPPORTED,
                         "the file system of the database %s cannot share memory between "
                         "processes: put it on a local disk",
                         c->path);
    sqlite3_reset(stmt);
    return status;
}

int sqlite_conn_open(struct sqlite_conn *c, const char *path, bool writer, struct err *e)
{
    *c = (struct sqlite_conn){.path = path};
    pthread_mutex_init(&c->lock, NULL);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    const char *disk;
    sqlite3_stmt *stmt;
    int status = sqlite_disk_name(&disk, e);
    if (status)
        goto fail;
    if (sqlite3_open_v2(path, &c->db, flags, disk) != SQLITE_OK) {
        status = sqlite_conn_error(c, e);
        goto fail;
    }
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, BUSY_TIMEOUT_MS);
    status = sqlite_words_add(c, e);
    if (!status && writer)
        status = use_wal(c, e);
    if (!status)
        status = sqlite_conn_script(c, writer ? writer_pragmas : reader_pragmas, e);
    if (!status && writer)
        status = sqlite_conn_prepare(c, rollback, &stmt, e);
    if (!status)
        return 0;
fail:
    sqlite_conn_close(c);
    return status;
}

void sqlite_conn_close(struct sqlite_conn *c)
{
    if (!c->path)
        return;
    for (size_t i = 0; i < SQLITE_CONN_STATEMENTS; i++)
        sqlite3_finalize(c->cache[i].stmt);
    sqlite3_close(c->db);
    pthread_mutex_destroy(&c->lock);
    *c = (struct sqlite_conn){0};
}

static int damaged(struct sqlite_conn *c, struct err *e)
{
    if (c->damaged)
        atomic_store(c->damaged, true);
    return err_set(
        e, ERR_CORRUPT,
        "the database %s is damaged (%s): stop the service, move the file away "
        "and restore it from a backup",
        c->path, sqlite3_errmsg(c->db));
}

int sqlite_conn_sound(struct sqlite_conn *c, struct err *e)
{
    return c->damaged && atomic_load(c->damaged)
               ? err_set(e, ERR_CORRUPT,
                         "the database %s is damaged: stop the service, move the file "
                         "away and restore it from a backup",
                         c->path)
               : 0;
}

int sqlite_conn_error(struct sqlite_conn *c, struct err *e)
{
    int code = c->db ? sqlite3_extended_errcode(c->db) : SQLITE_NOMEM;
    int number = c->db ? sqlite3_system_errno(c->db) : 0;
    const char *why = c->db ? sqlite3_errmsg(c->db) : "out of memory";
    switch (code & 0xFF) {
    case SQLITE_FULL:
        number = ENOSPC;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return damaged(c, e);
    case SQLITE_NOMEM:
        return err_set(e, ERR_NOMEM, "out of memory in the database %s", c->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return err_set(e, ERR_DENIED,
                       "the database %s cannot be written (%s): give the service's user "
                       "the right to write the file and its folder",
                       c->path, why);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(e, ERR_TIMEOUT, "the database %s is held by another process",
                       c->path);
    case SQLITE_CONSTRAINT:
        if (code ==
            SQLITE_CONSTRAINT_TRIGGER) /* see migrations.c: there is only this one */
            return err_set(e, ERR_HELD,
                           "the job is on hold: it is kept until an operator takes the "
                           "hold back");
        return err_set(e, ERR_EXISTS, "the database %s refused a row: %s", c->path, why);
    default:
        break;
    }
    /* The change is in the journal, but not for this process: it holds after a crash.
     * What is written next takes its place. */
    if (code == SQLITE_IOERR_FSYNC)
        return err_set(e, ERR_UNSURE,
                       "the disk that holds the database %s does not say that it has "
                       "stored a change: look whether it is full or failing",
                       c->path);
    if (code == SQLITE_IOERR_READ)
        return err_set(e, ERR_IO,
                       "the disk that holds the database %s did not let it be read: "
                       "should that happen again, look whether the disk is failing",
                       c->path);
    if (number == ENOSPC || number == EDQUOT)
        return err_set(e, ERR_FULL,
                       "the disk that holds the database %s is full: free some space",
                       c->path);
    if (number == EACCES || number == EPERM || number == EROFS)
        return err_set(e, ERR_DENIED,
                       "the database %s cannot be opened for writing (%s): give the "
                       "service's user the right to write the file and its folder",
                       c->path, why);
    return err_set(e, ERR_IO, "the database %s failed: %s", c->path, why);
}

int sqlite_conn_prepare(struct sqlite_conn *c, const char *sql, sqlite3_stmt **out,
                        struct err *e)
{
    *out = NULL;
    size_t i = 0;
    while (i < SQLITE_CONN_STATEMENTS && c->cache[i].sql && c->cache[i].sql != sql)
        i++;
    if (i == SQLITE_CONN_STATEMENTS)
        return err_set(e, ERR_NOMEM, "too many kinds of statements");
    if (!c->cache[i].stmt) {
        unsigned flags = SQLITE_PREPARE_PERSISTENT;
        if (sqlite3_prepare_v3(c->db, sql, -1, flags, &c->cache[i].stmt, NULL))
            return sqlite_conn_error(c, e);
        c->cache[i].sql = sql;
    }
    sqlite3_reset(c->cache[i].stmt);
    sqlite3_clear_bindings(c->cache[i].stmt);
    *out = c->cache[i].stmt;
    return 0;
}

static void bind_all(sqlite3_stmt *stmt, const char *types, va_list args)
{
    for (int i = 1; *types; types++, i++) {
        if (*types == 't') {
            const char *text = va_arg(args, const char *);
            sqlite3_bind_text(stmt, i, text, -1, SQLITE_STATIC); /* NULL binds NULL */
        } else if (*types == 'i') {
            sqlite3_bind_int(stmt, i, va_arg(args, int));
        } else if (*types == 'l') {
            sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
        } else if (*types == 'd') {
            sqlite3_bind_double(stmt, i, va_arg(args, double));
        } else {
            abort();
        }
    }
}

void sqlite_conn_bind(sqlite3_stmt *stmt, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    bind_all(stmt, types, args);
    va_end(args);
}

int sqlite_conn_run(struct sqlite_conn *c, struct err *e, const char *sql,
                    const char *types, ...)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, sql, &stmt, e);
    if (status)
        return status;
    va_list args;
    va_start(args, types);
    bind_all(stmt, types, args);
    va_end(args);
    int step;
    do
        step = sqlite3_step(stmt);
    while (step == SQLITE_ROW);
    status = step == SQLITE_DONE ? sqlite3_changes(c->db) : sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return status;
}

int sqlite_conn_script(struct sqlite_conn *c, const char *sql, struct err *e)
{
    if (sqlite3_exec(c->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sqlite_conn_error(c, e);
    return 0;
}

int sqlite_conn_begin(struct sqlite_conn *c, struct err *e)
{
    int n = sqlite_conn_run(c, e, "BEGIN IMMEDIATE", "");
    return n < 0 ? n : 0;
}

/* Some failures roll back by themselves; then there is nothing left to undo. */
static void undo(struct sqlite_conn *c)
{
    if (!sqlite3_get_autocommit(c->db))
        (void)sqlite_conn_run(c, NULL, rollback, "");
}

int sqlite_conn_end(struct sqlite_conn *c, int status, struct err *e)
{
    if (!status) {
        int n = sqlite_conn_run(c, e, "COMMIT", "");
        status = n < 0 ? n : 0;
    }
    if (status)
        undo(c);
    return status;
}

struct sqlite_conn *sqlite_store_reader(struct sqlite_store *s)
{
    for (size_t i = 0; i < ARRAY_LENGTH(s->readers); i++)
        if (!pthread_mutex_trylock(&s->readers[i].lock))
            return &s->readers[i];
    pthread_mutex_lock(&s->readers[0].lock);
    return &s->readers[0];
}

struct sqlite_conn *sqlite_store_writer(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->writer.lock);
    /* One that could not be taken back when it failed: what is written from now on would
     * become a part of it, and nobody would see it. */
    undo(&s->writer);
    return &s->writer;
}

void sqlite_store_done(struct sqlite_conn *c)
{
    pthread_mutex_unlock(&c->lock);
}
