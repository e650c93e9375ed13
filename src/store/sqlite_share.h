/* Shared jobs in the SQLite back end: see store/share.h for what each answers. */
#ifndef STORE_SQLITE_SHARE_H
#define STORE_SQLITE_SHARE_H

#include "store/share.h"
#include "store/sqlite_conn.h"

extern const struct store_share_ops sqlite_share_ops;

/* store_insert on a connection that the caller holds (sqlite_write.c). */
int sqlite_insert_with(struct sqlite_conn *c, const struct job *j, const char *sha256,
                       struct err *e);

#endif
