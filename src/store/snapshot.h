/* The database of one moment, for copies of it, beside services that use it.
 *
 * Unlike store_open this changes nothing of the schema. What is to leave nothing behind
 * (JOB_RETAIN_NONE), what is still coming in, and what only lives as long as a process
 * are no part of it. Of SQLite it is a file; of PostgreSQL the tables in the server's own
 * form of text (COPY), which any version of a server reads: see pg_rebuild.c. */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "store/blob.h"

/* A recording that the database says is there. */
struct snapshot_file {
    char id[ID_SIZE];
    char sha256[65];
    int64_t bytes;
};

struct snapshot_counts {
    int64_t jobs, transcripts, keys;
};

struct snapshot_info {
    const char *kind; /* static: "sqlite", "postgresql" */
    int schema;
    int64_t time_ms; /* of the moment */
    struct snapshot_counts counts;
    struct snapshot_file *files; /* owned [n_files] */
    size_t n_files;
};
void snapshot_info_release(struct snapshot_info *i);

struct snapshot;

/* Connect; only one may at a time, until it is closed or its process ends (ERR_STATE).
 * ERR_NOT_FOUND when there is no database of ours, ERR_UNSUPPORTED for one of a newer
 * version; otherwise as store_open. */
int snapshot_open(struct snapshot **out, const char *url, struct err *e);
void snapshot_close(struct snapshot *s);

/* Hold the recordings for STORE_HOLD_MS from now on (see hold.h). Not `first`:
 * ERR_TIMEOUT when they were let go meanwhile. May be called while another thread reads.
 */
int snapshot_hold(struct snapshot *s, bool first, struct err *e);
void snapshot_let_go(struct snapshot *s);

/* The moment is now. Once. Release the info. */
int snapshot_take(struct snapshot *s, struct snapshot_info *out, struct err *e);
/* The database of that moment, as bytes. `scratch` is a folder with room for it. */
int snapshot_pour(struct snapshot *s, const char *scratch, blob_data_fn data, void *arg,
                  struct err *e);

/* Settings (store/settings.h), where nothing else of the store is needed. */
int snapshot_setting(struct snapshot *s, const char *name, struct buf *value,
                     struct err *e);
int snapshot_set(struct snapshot *s, const char *name, const char *value, struct err *e);

/* The newest schema that this version knows. */
int snapshot_newest_schema(const char *kind);

#endif
