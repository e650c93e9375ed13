/* A connection to an SQLite file: prepared statements, bindings, transactions, and errors
 * turned into ours. Private to the SQLite back end. Not thread-safe: the holder of `lock`
 * uses it. */
#ifndef STORE_SQLITE_CONN_H
#define STORE_SQLITE_CONN_H

#include "base/err.h"
#include "base/trust.h"
#include "store/store.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#define SQLITE_CONN_STATEMENTS 128
#define SQLITE_STORE_READERS   4

struct sqlite_conn {
    sqlite3 *db;      /* owned */
    const char *path; /* borrowed, for messages */
    pthread_mutex_t lock;
    atomic_bool *damaged; /* borrowed or NULL: the store's */
    /* Prepared once per text; the texts are literals, so their addresses name them. */
    struct {
        const char *sql;    /* borrowed */
        sqlite3_stmt *stmt; /* owned */
    } cache[SQLITE_CONN_STATEMENTS];
};

struct sqlite_store {
    struct store base;
    char *path;                       /* owned */
    int lock_fd;                      /* owned; -1: not exclusive */
    atomic_bool damaged;              /* it was seen once */
    struct sqlite_listener *listener; /* owned; NULL: nobody wants to hear */
    struct clock_trust trust;         /* under the writer's lock */
    int64_t trust_saved_ms;           /* since the machine was started */
    struct sqlite_conn writer;
    struct sqlite_conn readers[SQLITE_STORE_READERS];
};

extern const struct store_ops sqlite_store_ops;             /* sqlite_write.c */
extern const struct store_settings_ops sqlite_settings_ops; /* sqlite_settings.c */
extern const struct store_waveform_ops sqlite_waveform_ops; /* sqlite_waveform.c */
extern const struct store_uploads_ops sqlite_uploads_ops;   /* sqlite_uploads.c */
extern const struct store_sources_ops sqlite_sources_ops;   /* sqlite_sources.c */
extern const struct store_webhooks_ops sqlite_webhooks_ops; /* sqlite_webhooks.c */
extern const struct store_waiting_ops sqlite_waiting_ops;   /* sqlite_waiting.c */
extern const struct store_workers_ops sqlite_workers_ops;   /* sqlite_workers.c */

/* Open the file and set what every connection has. The lock is initialised too. */
int sqlite_conn_open(struct sqlite_conn *c, const char *path, bool writer, struct err *e);
void sqlite_conn_close(struct sqlite_conn *c);

/* The last error of this connection as one of ours: full, damaged, not permitted … */
int sqlite_conn_error(struct sqlite_conn *c, struct err *e);

/* ERR_CORRUPT once any connection of the store has met damage: what is written into a
 * damaged database may be lost, and nobody is to be told that it was kept. */
int sqlite_conn_sound(struct sqlite_conn *c, struct err *e);

/* A statement, reset and without bindings. Borrowed: the caller resets it when it is done
 * (sqlite3_reset). `sql` is a literal. */
int sqlite_conn_prepare(struct sqlite_conn *c, const char *sql, sqlite3_stmt **out,
                        struct err *e);

/* Bind in order: t const char * (NULL gives NULL), i int, l int64_t, d double. The texts
 * must stay until the statement is reset. */
void sqlite_conn_bind(sqlite3_stmt *stmt, const char *types, ...);

/* Prepare, bind, run to the end. Returns the number of rows changed, or an error. */
int sqlite_conn_run(struct sqlite_conn *c, struct err *e, const char *sql,
                    const char *types, ...);

/* Several statements without bindings or results. */
int sqlite_conn_script(struct sqlite_conn *c, const char *sql, struct err *e);

/* BEGIN IMMEDIATE; and COMMIT when `status` is 0, else (or when that fails) ROLLBACK.
 * sqlite_conn_end returns `status`, or what COMMIT said. */
int sqlite_conn_begin(struct sqlite_conn *c, struct err *e);
int sqlite_conn_end(struct sqlite_conn *c, int status, struct err *e);

/* A free reader, locked; unlock it with sqlite_store_done. */
struct sqlite_conn *sqlite_store_reader(struct sqlite_store *s);
struct sqlite_conn *sqlite_store_writer(struct sqlite_store *s);
void sqlite_store_done(struct sqlite_conn *c);

#endif
