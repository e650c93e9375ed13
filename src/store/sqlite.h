/* The SQLite back end: one writer connection behind a mutex, a few readers beside it. */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include "store/store.h"

/* Open or make the database file at `path`: see store_open. */
int sqlite_store_open(struct store **out, const char *path,
                      const struct store_options *options, struct err *e);

/* Whether a service has the file now. */
bool sqlite_store_in_use(const char *path);

#endif
