/* A file of a copy on its way: hashed in clear, sealed, kept. */
#ifndef BACKUP_OBJECT_H
#define BACKUP_OBJECT_H

#include "backup/depot.h"
#include "backup/manifest.h"
#include "backup/seal.h"

#include <nettle/sha2.h>

/* Where copies are, and how they are read. */
struct vault {
    struct depot *depot; /* owned */
    struct seal *seal;   /* owned; NULL: in clear */
    /* Whether to break off; NULL: never. */
    bool (*stopped)(void *arg);
    void *arg;
};
/* As the settings say; `where` NULL: in BACKUP_DIR. ERR_INVALID when that is not set. */
int vault_open(struct vault *v, const struct config *c, const char *where, bool writes,
               struct err *e);
void vault_close(struct vault *v);
/* ERR_CANCELLED when it is to break off. */
int vault_go_on(const struct vault *v, struct err *e);

struct object_writer {
    struct vault *vault; /* borrowed */
    struct depot_writer *out;
    struct seal_writer seal;
    struct sha256_ctx hash;
    int64_t bytes, stored;
};
/* `name` is "copies/…" or "objects/…". */
int object_begin(struct object_writer *w, struct vault *v, const char *name,
                 struct err *e);
/* Has the shape of blob_data_fn; arg is the writer. */
int object_write(void *arg, const void *bytes, size_t length, struct err *e);
/* What it is by now, in clear: fills bytes, stored and sha256. Sealed, but not kept. */
int object_settle(struct object_writer *w, struct manifest_file *out, struct err *e);
/* Kept. */
int object_keep(struct object_writer *w, struct err *e);
/* In every case, and first of all the end of one that is not kept. */
void object_release(struct object_writer *w);

/* Hand a file over in clear. ERR_CORRUPT, at the end, when it is not what the manifest
 * says; ERR_NOT_FOUND; ERR_DENIED: the key is another one. `data` may be NULL. */
int object_read(struct vault *v, const struct manifest_file *f, depot_data_fn data,
                void *arg, struct err *e);

#endif
