/* What a copy is made of: a text of JSON, and behind it a line with its SHA-256. */
#ifndef BACKUP_MANIFEST_H
#define BACKUP_MANIFEST_H

#include "base/buf.h"
#include "store/snapshot.h"

#include <stdbool.h>

#define MANIFEST_FORMAT 1
#define MANIFEST_MAX    ((size_t)512 << 20)

enum manifest_role { ROLE_DATABASE, ROLE_RECORDING, ROLE_SETTINGS, ROLE_COUNT };
const char *manifest_role_name(enum manifest_role role);

struct manifest_file {
    enum manifest_role role;
    char id[ID_SIZE]; /* of a recording; "" */
    char object[65];  /* what holds it: 64 hex digits */
    char sha256[65];  /* of its bytes, in clear */
    int64_t bytes;    /* in clear */
    int64_t stored;   /* as the object has them */
};

struct manifest {
    char version[32], kind[16]; /* of the program, of the database */
    int schema;
    int64_t time_ms;
    struct snapshot_counts counts;
    struct manifest_file *files; /* owned [n_files]: exactly one is the database */
    size_t n_files, capacity;
    /* Recordings that were gone or damaged in the storage when the copy was made. */
    char (*missing)[ID_SIZE]; /* owned [n_missing] */
    size_t n_missing, missing_capacity;
};
void manifest_release(struct manifest *m);

int manifest_add(struct manifest *m, const struct manifest_file *f, struct err *e);
int manifest_miss(struct manifest *m, const char *id, struct err *e);
const struct manifest_file *manifest_find(const struct manifest *m,
                                          enum manifest_role role);
/* All bytes of its files, in clear. */
int64_t manifest_bytes(const struct manifest *m);

int manifest_compose(const struct manifest *m, struct buf *out, struct err *e);
/* ERR_CORRUPT for what is none or damaged, ERR_UNSUPPORTED for a later format. `out` is
 * filled on success only. */
int manifest_parse(struct manifest *out, const char *text, size_t length, struct err *e);

#endif
