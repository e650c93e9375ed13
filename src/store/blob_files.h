/* A storage that is a folder. Private to blob_files*.c. */
#ifndef STORE_BLOB_FILES_H
#define STORE_BLOB_FILES_H

#include "store/beside.h"
#include "store/blob_ops.h"

#include <limits.h>

struct files_store {
    struct blob_store base;
    char *uploads;         /* owned */
    char *parts;           /* owned */
    struct beside *beside; /* owned */
    uint64_t reserve_bytes;
};

struct files_writer {
    struct blob_writer base;
    int fd;             /* -1: nothing of this sitting yet */
    bool named;         /* its name is durable */
    int64_t checked_at; /* bytes when the free space was last asked for */
    int64_t flushed_at; /* bytes that the disk was told to begin with */
    int64_t synced_at;  /* bytes that are durable */
    int64_t start;      /* of what came before in other files */
};

/* "uploads/<id>" and, for what comes in at one go, "uploads/<id>.part". */
int files_path(const struct files_store *s, const char *id, const char *suffix,
               char path[PATH_MAX], struct err *e);
/* "parts/<id>.<token>"; of an older version "uploads/<id>.part". */
int files_piece_path(const struct files_store *s, const char *id,
                     const struct blob_piece *piece, char path[PATH_MAX], struct err *e);
int files_check_space(const struct files_store *s, struct err *e);
/* Remove a file, overwritten before where that is wanted; one that is not there is fine.
 */
int files_unlink(const struct files_store *s, const char *path, struct err *e);
/* What the system refuses us is not the caller's fault, and must not look like it. */
int files_blame_us(int status, struct err *e);
/* Open for reading. A file that another machine has made may not be seen at once on a
 * shared folder: who reads the folder anew sees it. */
int files_open(const char *path, struct err *e);
/* Hand over `length` bytes of a descriptor; -1: all. */
int files_pour(int fd, int64_t first, int64_t length, blob_data_fn data, void *arg,
               struct err *e);

/* blob_files_part.c */
int files_resume(struct blob_writer *w, bool clean, struct err *e);
int files_sync(struct blob_writer *w, bool all, int64_t *bytes, struct err *e);
bool files_sync_is_due(const struct blob_writer *w);
int files_finish(struct blob_writer *w, struct err *e);
int files_discard(struct blob_store *s, const char *id, const struct blob_state *state,
                  struct err *e);
int files_read_part(struct blob_store *s, const char *id, const struct blob_state *state,
                    blob_data_fn data, void *arg, struct err *e);
/* A file of this sitting, if there is none yet. */
int files_need_piece(struct files_writer *w, struct err *e);

/* blob_files_sweep.c */
int files_sweep(struct blob_store *s, int64_t age_ms, blob_wanted_fn wanted, void *arg,
                struct err *e);

#endif
