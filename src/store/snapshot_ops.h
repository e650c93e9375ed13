/* What each kind of database does for snapshot.h and rebuild.h, whose functions these
 * are. Private to them. */
#ifndef STORE_SNAPSHOT_OPS_H
#define STORE_SNAPSHOT_OPS_H

#include "store/rebuild.h"
#include "store/snapshot.h"

struct snapshot_ops {
    void (*close)(struct snapshot *s);
    int (*hold)(struct snapshot *s, bool first, struct err *e);
    int (*take)(struct snapshot *s, struct snapshot_info *out, struct err *e);
    int (*pour)(struct snapshot *s, const char *scratch, blob_data_fn data, void *arg,
                struct err *e);
    int (*setting)(struct snapshot *s, const char *name, struct buf *value,
                   struct err *e);
    int (*set)(struct snapshot *s, const char *name, const char *value, struct err *e);
};
struct snapshot {
    const struct snapshot_ops *ops;
};

int sqlite_snapshot_open(struct snapshot **out, const char *path, struct err *e);
int pg_snapshot_open(struct snapshot **out, const char *url, struct err *e);

/* What is asked of the tables is there since these steps of their schemas. */
#define SNAPSHOT_OLDEST_SQLITE 14
#define SNAPSHOT_OLDEST_PG     7
/* Jobs whose rows are copied. */
#define SNAPSHOT_KEPT "retain_days >= 0"
/* … whose recordings are. A recording that is still to be fetched has no bytes yet. */
#define SNAPSHOT_FILES SNAPSHOT_KEPT " AND audio_present AND file_bytes > 0"

/* Append a file; `capacity` is the caller's. ERR_CORRUPT for an id that is none. */
int snapshot_add_file(struct snapshot_info *i, size_t *capacity, const char *id,
                      const char *sha256, int64_t bytes, struct err *e);

/* ---- the way back ---- */

struct rebuild_ops {
    int (*write)(struct rebuild *r, const void *bytes, size_t length, struct err *e);
    int (*check)(struct rebuild *r, struct snapshot_counts *counts, struct err *e);
    int (*commit)(struct rebuild *r, struct buf *aside, struct err *e);
    void (*close)(struct rebuild *r);
};
struct rebuild {
    const struct rebuild_ops *ops;
};

int sqlite_rebuild_look(const char *path, bool *there, struct err *e);
int sqlite_rebuild_open(struct rebuild **out, const char *path, const char *scratch,
                        struct err *e);
int pg_rebuild_look(const char *url, bool *there, struct err *e);
int pg_rebuild_open(struct rebuild **out, const char *url, int schema, bool scratch,
                    struct err *e);

/* Notices that waited when the copy was made are not sent when it is older than this:
 * whoever got them since would get them again. */
#define REBUILD_NOTICES_MS INT64_C(86400000)

#endif
