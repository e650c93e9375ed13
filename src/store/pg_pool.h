/* The connections to PostgreSQL, and turns: a transaction that is tried again when it was
 * not its own fault that it failed. Private to that back end. */
#ifndef STORE_PG_POOL_H
#define STORE_PG_POOL_H

#include "store/pg_conn.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

#define PG_POOL_MAX     200
#define PG_POOL_DEFAULT 8

/* So long one operation waits for a database that is away, before it says so. What was
 * accepted is not lost by waiting, and a restart takes less. */
#define PG_PATIENCE_NS INT64_C(9000000000)

struct search_words;

struct pg_pool {
    struct pg_place place;
    pthread_mutex_t lock;
    pthread_cond_t freed, heard;
    struct pg_conn *conns; /* owned [count] */
    size_t count;
    bool opened;  /* from then on it was usable once */
    int instance; /* of this process; 0: a command beside a service */
    /* Rises when a connection was lost: those of before are opened anew. */
    uint64_t generation;
    /* Under `lock`: when it could not be reached any more (0: it can), when to knock
     * again, and how long to pause after that. */
    int64_t away_since_ns, knock_at_ns, pause_ns;
    bool away_told;
    /* Under `lock`: since when nothing has come from a server that takes what is sent,
     * and 0 when it answers. */
    int64_t silent_since_ns;
    _Atomic unsigned silences; /* how often: for those who are in the middle of a wait */
};

struct pg_store {
    struct store base;
    struct pg_pool pool;
    struct search_words *words;   /* owned: what takes a text apart for the search */
    struct pg_listener *listener; /* owned; NULL for a command */
    _Atomic int64_t wrong_ms;     /* the wall clock's distance from the server's */
};

int pg_pool_init(struct pg_pool *p, const char *url, int connections, struct err *e);
void pg_pool_release(struct pg_pool *p);

/* For whoever watches the server: it answers nobody, and nothing has come from it since
 * `since_ns` (monotonic). Whoever waits for an answer stops, and until pg_pool_heard
 * nobody asks anything: callers wait until its patience is over, later ones not at all.
 */
void pg_pool_silent(struct pg_pool *p, int64_t since_ns);
/* It answers. `anew`: connections of before are not to be trusted. */
void pg_pool_heard(struct pg_pool *p, bool anew);

enum pg_kind {
    PG_LOOK,     /* one question */
    PG_SNAPSHOT, /* several questions, answered as of one moment */
    PG_CHANGE,   /* a transaction that is durable when it is over */
};

/* A turn is a loop around what is to be done:
 *
 *     struct pg_turn t = pg_begin(s, PG_CHANGE);
 *     while (pg_turn(&t, &status, e))
 *         status = …(t.conn, …);
 *
 * The body may run several times: after a deadlock, when the connection broke before it
 * was committed, or when the commit turned out not to have happened. What a round
 * produced must be released when the next begins. A status other than 0 undoes it. When
 * nobody can say whether it was committed, it ends with ERR_UNSURE. */
struct pg_turn {
    struct pg_pool *pool;
    enum pg_kind kind;
    struct pg_conn *conn; /* borrowed, within the body */
    int64_t until_ns;
    int rounds;
};

static inline struct pg_turn pg_begin(struct store *s, enum pg_kind kind)
{
    return (struct pg_turn){.pool = &((struct pg_store *)s)->pool, .kind = kind};
}

bool pg_turn(struct pg_turn *t, int *status, struct err *e);

#endif
