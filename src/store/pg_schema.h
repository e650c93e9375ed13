/* The schema in PostgreSQL, as numbered steps. A step that was released is never changed;
 * a change of the schema is a new step. */
#ifndef STORE_PG_SCHEMA_H
#define STORE_PG_SCHEMA_H

#include "store/pg_conn.h"

struct pg_step {
    int version; /* rising */
    const char *name;
    const char *sql;
    int oldest; /* a program that knows this one may run with the step; 0: the step */
    const char *down; /* takes it back, and loses nothing; NULL: there is no way back */
};

/* All steps, in order. */
const struct pg_step *pg_steps(size_t *count);

/* Bring the database to the last step of the list. Processes that begin at the same time
 * wait for the first. ERR_UNSUPPORTED for a database from a newer version, ERR_INVALID
 * when something else has the name of our schema. A command `beside` services changes
 * nothing under those that run (ERR_STATE). */
int pg_migrate(struct pg_conn *c, const struct pg_step *steps, size_t count, bool beside,
               int64_t now_ms, struct err *e);

/* In the transaction that is open: our schema, empty, as it was in `version`; nothing may
 * have its name. */
int pg_schema_build(struct pg_conn *c, int version, int64_t now_ms, struct err *e);
/* Bring it to the version `to` of the list, forward or back: see store_schema_move. */
int pg_move(struct pg_conn *c, const struct pg_step *steps, size_t count, int to,
            struct err *e);

/* The schema of the last version that did not say what it knows. */
#define PG_SILENT_SCHEMA 8

/* The classes of our advisory locks; the second number says which: */
#define PG_LOCK_RUNNING    1465151025 /* … process runs: held while it does */
#define PG_LOCK_KNOWS      1465151027 /* … schema it knows up to: held, too */
#define PG_LOCK_ONE        1465151026 /* … of these: */
#define PG_ONE_LOG         "1"        /* the log's next number; see pg_schema.c */
#define PG_ONE_MIGRATES    "2"
#define PG_ONE_KEY         "3" /* the first key */
#define PG_ONE_BACKUP      "4" /* whoever copies all of it */

#define PG_STRING_OF(text) #text
#define PG_STRING(text)    PG_STRING_OF(text)

/* The processes of this database that run, as their numbers. Each holds a lock for as
 * long as it is connected. */
#define PG_RUNNING                                                                       \
    "(SELECT objid::bigint FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND "    \
    "granted AND classid = " PG_STRING(                                                  \
        PG_LOCK_RUNNING) " AND objsubid = 2 AND database = (SELECT oid "                 \
                         "FROM pg_catalog.pg_database WHERE datname = "                  \
                         "current_database()))"

/* After a restart of the server every process is without its lock for a moment. Before
 * this holds, whoever is not among those that run may be alive all the same. */
#define PG_SETTLED                                                                       \
    "(pg_catalog.pg_postmaster_start_time() < now() - interval '10 seconds')"

#endif
