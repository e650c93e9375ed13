/* The schema, as numbered steps. A step that was released is never changed; a change of
 * the schema is a new step. */
#ifndef STORE_MIGRATIONS_H
#define STORE_MIGRATIONS_H

#include "store/sqlite_conn.h"

struct migration {
    int version; /* rises */
    const char *name;
    const char *sql;
};

/* All steps, in order. */
const struct migration *migrations_all(size_t *count);

/* Bring the database to the last step of the list: each missing step, and the row of
 * schema_version that notes it, in one transaction. ERR_UNSUPPORTED for a database from a
 * newer version, ERR_INVALID for one of another program. */
int migrations_apply(struct sqlite_conn *c, const struct migration *steps, size_t count,
                     int64_t now_ms, struct err *e);

#endif
