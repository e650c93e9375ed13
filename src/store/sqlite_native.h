/* What the parts of the SQLite back end for the native door share with the others. */
#ifndef STORE_SQLITE_NATIVE_H
#define STORE_SQLITE_NATIVE_H

#include "store/native.h"
#include "store/sqlite_conn.h"

/* A job of a higher priority counts as if it had come earlier: JOB_PRIORITY_STEP_MS for
 * each step. In the words of the index jobs_urgent, which the database then uses. */
#define SQLITE_QUEUE_ORDER "created_ms - priority * 600000"

extern const struct store_native_ops sqlite_native_ops; /* sqlite_native.c */

/* sqlite_log.c: see native.h. */
int sqlite_log_extent(struct store *s, struct store_log_extent *out, struct err *e);
int sqlite_log_read(struct store *s, int64_t after, const char *caller, size_t max,
                    struct store_event_list *out, struct err *e);
int sqlite_log_trim(struct store *s, int64_t before_ms, int64_t most, struct err *e);

/* sqlite_keys.c: whether the caller's key has something left for one more job, within the
 * transaction that makes it (see quota.h). */
int sqlite_quota_with(struct sqlite_conn *c, const char *caller, int64_t now_ms,
                      struct err *e);

/* The same for a job whose recording has been fetched, which counted for nothing so far.
 */
int sqlite_quota_of_job(struct sqlite_conn *c, const char *job_id, int64_t now_ms,
                        struct err *e);

/* sqlite_write.c: the row of a new job, within a transaction of the caller's. */
int sqlite_insert_with(struct sqlite_conn *c, const struct job *j, const char *sha256,
                       struct err *e);

#endif
