/* The schema, as numbered steps. A step that was released is never changed; a change of
 * the schema is a new step. Its rules are in CONTRIBUTING.md: first expand, then
 * contract, and always a way back. */
#ifndef STORE_MIGRATIONS_H
#define STORE_MIGRATIONS_H

#include "store/schema.h"
#include "store/sqlite_conn.h"

struct migration {
    int version; /* rising */
    const char *name;
    const char *sql;
    /* A program that knows the schema up to this one may run with the step applied: what
     * a step adds, others need not know. 0: only who knows the step. */
    int oldest;
    const char *down; /* takes it back, and loses nothing; NULL: there is no way back */
};

/* All steps, in order. */
const struct migration *migrations_all(size_t *count);

/* Where the database stands. */
int migrations_look(struct sqlite_conn *c, const struct migration *steps, size_t count,
                    struct store_schema *out, struct err *e);

/* Whether the database lacks steps of the list. Errors as migrations_apply. */
int migrations_pending(struct sqlite_conn *c, const struct migration *steps, size_t count,
                       bool *out, struct err *e);

/* Bring the database to the last step of the list: each missing step, and the row of
 * schema_version that notes it, in one transaction. ERR_UNSUPPORTED for a database from a
 * newer version that does not allow this one, ERR_INVALID for one of another program. */
int migrations_apply(struct sqlite_conn *c, const struct migration *steps, size_t count,
                     int64_t now_ms, struct err *e);

/* Take back all steps above `to`, the last one first. ERR_UNSUPPORTED for a step that has
 * no way back, and for a database that has steps which are not in the list. */
int migrations_undo(struct sqlite_conn *c, const struct migration *steps, size_t count,
                    int to, struct err *e);

#endif
