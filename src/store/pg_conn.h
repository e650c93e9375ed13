/* A connection to PostgreSQL: statements prepared once, parameters and results in binary,
 * a limit to every wait, and errors turned into ours. Private to that back end. Not
 * thread-safe: who took it from the pool uses it. */
#ifndef STORE_PG_CONN_H
#define STORE_PG_CONN_H

#include "base/err.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PG_CONN_STATEMENTS 160
/* All that is ours lies in a schema of its own, beside whatever else is there. */
#define PG_SCHEMA "whisper_transcriber"
/* Oldest server: what we ask of it is there since then. */
#define PG_OLDEST 120000

/* Where the database is. */
struct pg_place {
    char *url;      /* owned; may hold a password */
    char *name;     /* owned: "the database NAME at HOST:PORT" for messages */
    char *database; /* owned, for messages, as is the other */
    char *user;     /* owned */
};
/* ERR_INVALID, with a message that repeats nothing of it, for an URL that is none. */
int pg_place_init(struct pg_place *p, const char *url, struct err *e);
void pg_place_release(struct pg_place *p);

struct pg_conn {
    const struct pg_place *place; /* borrowed */
    PGconn *pg;                   /* owned; NULL: not connected */
    int64_t limit_ns;             /* the longest wait for one answer */
    uint64_t generation;          /* of the pool, when it was opened */
    /* How often the server has fallen silent by now, as the pool knows (borrowed; NULL:
     * nobody watches), and as it was when this was opened. */
    const _Atomic unsigned *silences;
    unsigned silences_then;
    /* The pool's: */
    bool taken;   /* somebody uses it */
    int64_t slot; /* names it in the table of commits */
    /* What the last error says to do: */
    bool lost;  /* the connection is gone; nothing of its transaction stays */
    bool again; /* the server broke the transaction off for the sake of another one */
    /* Prepared once per text; the texts are literals, so their addresses name them. */
    const char *statements[PG_CONN_STATEMENTS]; /* borrowed [n_statements] */
    size_t n_statements;
};

/* Connect, at most until `until_ns` (monotonic), and set what every connection has.
 * ERR_AWAY when the server cannot be reached now, ERR_DENIED, ERR_NOT_FOUND (there is no
 * such database), ERR_UNSUPPORTED (too old, or not in UTF-8). `instance` names this
 * process to the triggers (0: nobody). */
int pg_conn_open(struct pg_conn *c, const struct pg_place *place, int instance,
                 int64_t until_ns, struct err *e);
void pg_conn_close(struct pg_conn *c);
/* Whether the server has hung up meanwhile. Cheap. */
bool pg_conn_dead(struct pg_conn *c);

/* What the two files of a connection share: the server's words in one line, short; the
 * connection is gone (ERR_AWAY); wait for the socket, false when the time is up or the
 * server has fallen silent. */
void pg_one_line(const char *text, char *out, size_t size);
int pg_lose(struct pg_conn *c, struct err *e, const char *why);
bool pg_wait(const struct pg_conn *c, short events, int64_t until_ns);

/* Run one statement with parameters, prepared when `sql` (a literal) is new: t const
 * char * (NULL gives NULL), i int, l int64_t, d double, b bool (an int), x const void *
 * and size_t. *out is the caller's to PQclear. */
int pg_ask(struct pg_conn *c, PGresult **out, struct err *e, const char *sql,
           const char *types, ...);
/* The same without keeping it prepared, for a text that is put together; at most 160
 * parameters, all of them texts. */
int pg_ask_texts(struct pg_conn *c, PGresult **out, struct err *e, const char *sql,
                 const char *const *texts, size_t count);
/* The same for what gives no rows: the number of rows changed, or an error. */
int pg_run(struct pg_conn *c, struct err *e, const char *sql, const char *types, ...);
/* Several statements without parameters or results. */
int pg_script(struct pg_conn *c, const char *sql, struct err *e);

/* Fields of a result. NULL is "" (or NULL for pg_copy), 0, false. */
const char *pg_text(const PGresult *r, int row, int column);
int64_t pg_int(const PGresult *r, int row, int column);
double pg_double(const PGresult *r, int row, int column);
bool pg_bool(const PGresult *r, int row, int column);
/* A copy of the text, NULL for NULL; sets *failed when memory is out. */
char *pg_copy(const PGresult *r, int row, int column, bool *failed);
/* Copy it to a field of a fixed size. */
void pg_copy_to(const PGresult *r, int row, int column, char *out, size_t size);

#endif
