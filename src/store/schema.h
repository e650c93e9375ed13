/* Where a database stands among the schema's steps, and moving it: what `migrate` does. A
 * service does the same for itself when it starts, forward only. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include "store/store.h"

struct store_schema {
    int version; /* of the database; 0: there is none yet */
    int known;   /* the newest that this program knows */
    int needs; /* what a program must know to run with this database, where that is newer
                  than what this one knows; else 0 */
    int running; /* services that use it now, as far as is known */
};

/* The database as it is; nothing is made or changed. ERR_NOT_FOUND when there is none. */
int store_schema_look(const char *url, struct store_schema *out, struct err *e);

/* Bring the database to a version, forward or back. ERR_STATE while a service uses it
 * that could not go on, ERR_UNSUPPORTED for a step that has no way back or is not known,
 * ERR_INVALID for a version that is none. */
int store_schema_move(const char *url, int to, struct err *e);

/* ---- for the back ends ---- */

/* 0, or ERR_UNSUPPORTED when this program is too old for the database. */
int store_schema_judge(const struct store_schema *s, const char *name, struct err *e);
/* Fill `e` and return ERR_UNSUPPORTED. */
int store_schema_unknown(int version, int known, struct err *e);
int store_schema_no_way_back(int version, struct err *e);

int sqlite_schema_look(const char *path, struct store_schema *out, struct err *e);
int sqlite_schema_move(const char *path, int to, struct err *e);
int pg_schema_look(const char *url, struct store_schema *out, struct err *e);
int pg_schema_move(const char *url, int to, struct err *e);

#endif
