/* How SQLite reads its files here: a read that the disk refuses is an error of input, and
 * not damage of the database, for which SQLite itself takes it. */
#ifndef STORE_SQLITE_DISK_H
#define STORE_SQLITE_DISK_H

#include "base/err.h"

/* The name for sqlite3_open_v2, in *out (static). */
int sqlite_disk_name(const char **out, struct err *e);

#endif
