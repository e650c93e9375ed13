/* The reading half of the SQLite back end: see store.h for what each answers. */
#ifndef STORE_SQLITE_READ_H
#define STORE_SQLITE_READ_H

#include "store/sqlite_conn.h"

int sqlite_read_get(struct store *s, const char *id, struct job *out, struct err *e);
int sqlite_read_list(struct store *s, const struct job_filter *f, struct job_list *out,
                     struct err *e);
int sqlite_read_transcript(struct store *s, const char *id, struct buf *json,
                           struct err *e);
int sqlite_read_resume(struct store *s, const char *id, struct store_resume *out,
                       struct err *e);
int sqlite_read_aged(struct store *s, enum store_aged what, int64_t before_ms,
                     char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e);

/* One job on a connection that the caller holds. */
int sqlite_get_with(struct sqlite_conn *c, const char *id, struct job *out,
                    struct err *e);
/* A copy of a column's text, NULL for NULL; sets *failed when memory is out. */
char *sqlite_column_text(sqlite3_stmt *stmt, int column, bool *failed);
/* A column's id, if it is one. */
bool sqlite_column_id(sqlite3_stmt *stmt, int column, char out[ID_SIZE]);
/* The ids in the first column of what is left of a statement's rows, at most `max`. The
 * caller resets it. */
int sqlite_read_ids(struct sqlite_conn *c, sqlite3_stmt *stmt, char (*ids)[ID_SIZE],
                    size_t max, size_t *count, struct err *e);
/* Fills `e` and returns ERR_NOT_FOUND. */
int sqlite_no_such_job(struct err *e, const char *id);

#endif
