/* What the parts of the PostgreSQL back end share about jobs. */
#ifndef STORE_PG_JOBS_H
#define STORE_PG_JOBS_H

#include "store/native.h"
#include "store/pg_pool.h"
#include "store/pg_schema.h"

/* In words of the index jobs_urgent, which the database then uses. */
#define PG_QUEUE_ORDER "(created_ms - priority * 600000::bigint)"
/* pg_read.c */
int pg_read_get(struct store *s, const char *id, struct job *out, struct err *e);
int pg_read_list(struct store *s, const struct job_filter *f, struct job_list *out,
                 struct err *e);
int pg_read_transcript(struct store *s, const char *id, struct buf *json, struct err *e);
int pg_read_resume(struct store *s, const char *id, struct store_resume *out,
                   struct err *e);
int pg_read_aged(struct store *s, enum store_aged what, int64_t before_ms,
                 char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e);
/* One job within a turn. */
int pg_get_with(struct pg_conn *c, const char *id, struct job *out, struct err *e);
/* Fills `e` and returns ERR_NOT_FOUND. */
int pg_no_such_job(struct err *e, const char *id);
/* The ids of a result's first column, as far as there is room. */
void pg_read_ids(const PGresult *r, char (*ids)[ID_SIZE], size_t max, size_t *count);

/* pg_keys.c: whether the caller's key has something left for one more job, within the
 * turn that makes it (see quota.h). */
int pg_quota_with(struct pg_conn *c, const char *caller, int64_t now_ms, bool urls,
                  struct err *e);

/* pg_write.c: the row of a new job and its words, within a turn. */
int pg_insert_with(struct pg_store *s, struct pg_conn *c, const struct job *j,
                   const char *sha256, struct err *e);
int pg_insert(struct store *s, const struct job *j, const char *sha256, struct err *e);
int pg_claim(struct store *s, const struct store_wish *wish, const char *owner,
             int64_t now_ms, int64_t lease_ms, struct job *out, struct err *e);
int pg_renew(struct store *s, const char *id, int attempt, int64_t lease_ms,
             struct err *e);
int pg_decoded(struct store *s, const char *id, int attempt, double seconds, int progress,
               const char *message, struct err *e);
int pg_checkpoint(struct store *s, const char *id, int attempt,
                  const struct store_checkpoint *cp, struct err *e);
int pg_ahead(struct store *s, const char *id, int attempt, int64_t until_frame,
             const char *heard, struct err *e);
int pg_complete(struct store *s, const char *id, int attempt, int64_t now_ms,
                const struct store_result *r, struct err *e);
int pg_fail(struct store *s, const char *id, int attempt, int64_t now_ms,
            const char *code, const char *message, struct err *e);
int pg_requeue(struct store *s, const char *id, int attempt, struct err *e);
int pg_put_off(struct store *s, const char *id, int attempt, int64_t run_after_ms,
               const char *message, struct err *e);
int pg_crash(struct store *s, const char *id, int attempt,
             const struct store_crash *crash, struct err *e);
int pg_requeue_expired(struct store *s, int64_t before_ms, int64_t *count, struct err *e);

/* pg_change.c: what callers do to a job. */
int pg_cancel(struct store *s, const char *id, int64_t now_ms, struct err *e);
int pg_retry(struct store *s, const char *id, struct err *e);
int pg_remove(struct store *s, const char *id, struct err *e);
int pg_drop_audio(struct store *s, const char *id, struct err *e);
int pg_probe(struct store *s, struct err *e);
int pg_shed(struct store *s, const char *id, struct err *e);
int pg_erase(struct store *s, const char *id, struct err *e);

/* The groups, each in the file of its name: pg_keys.c … */
struct store_keys_ops;
struct store_audit_ops;
struct store_share_ops;
struct store_settings_ops;
struct store_waveform_ops;
struct store_uploads_ops;
struct store_sources_ops;
struct store_webhooks_ops;
struct store_waiting_ops;
struct store_workers_ops;
extern const struct store_keys_ops pg_keys_ops;
extern const struct store_audit_ops pg_audit_ops;
extern const struct store_native_ops pg_native_ops;
extern const struct store_share_ops pg_share_ops;
extern const struct store_settings_ops pg_settings_ops;
extern const struct store_waveform_ops pg_waveform_ops;
extern const struct store_uploads_ops pg_uploads_ops;
extern const struct store_sources_ops pg_sources_ops;
extern const struct store_webhooks_ops pg_webhooks_ops;
extern const struct store_waiting_ops pg_waiting_ops;
extern const struct store_workers_ops pg_workers_ops;
extern const struct store_rates_ops pg_rates_ops;

#endif
