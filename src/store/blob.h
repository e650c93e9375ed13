/* The storage: recordings as files, named by ids that we made.
 *
 *     <folder>/uploads/<id>.part   while it comes in; locked by its writer
 *     <folder>/uploads/<id>        whole and durable
 *     <folder>/scratch/            unlinked files of the decoder
 *
 * A name that a caller gave never becomes a path. */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include "base/err.h"
#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob_store;

/* Make the folders under `folder`. Writing is refused (ERR_FULL) while fewer than
 * `reserve_bytes` are free there. */
int blob_store_open(struct blob_store **out, const char *folder, uint64_t reserve_bytes,
                    struct err *e);
void blob_store_close(struct blob_store *s);

/* Where the decoder may spool. Borrowed. */
const char *blob_store_scratch(const struct blob_store *s);

struct blob_writer;

/* Begin the blob of a new id. */
int blob_begin(struct blob_store *s, const char *id, struct blob_writer **out,
               struct err *e);
/* After an error only blob_abort is left to call. */
int blob_write(struct blob_writer *w, const void *bytes, size_t length, struct err *e);

struct blob_info {
    int64_t bytes;
    char sha256[65]; /* lower-case hex */
};
/* fsync, rename, fsync of the folder. Frees the writer in every case; on error the file
 * is gone. */
int blob_finish(struct blob_writer *w, struct blob_info *out, struct err *e);
/* Forget it and its file; NULL is fine. */
void blob_abort(struct blob_writer *w);

/* A part that comes in several sittings: take it for oneself, as it is, then blob_cut it
 * to what is known to be durable. `create`: it may be missing. ERR_STATE while another
 * writes it. Such a part stays when the writer is paused; blob_abort removes it. */
int blob_resume(struct blob_store *s, const char *id, bool create,
                struct blob_writer **out, struct err *e);
/* fsync: what was written until now is durable. */
int blob_sync(struct blob_writer *w, struct err *e);
/* Bytes of the part. */
int64_t blob_bytes(const struct blob_writer *w);
/* Its first bytes, as many as there are and fit; how many, or an error. */
int blob_head(struct blob_writer *w, void *out, size_t size, struct err *e);
/* Cut it to `bytes` and go on behind them; ERR_CORRUPT when fewer are there. */
int blob_cut(struct blob_writer *w, int64_t bytes, struct err *e);
/* Let go of the part, which stays; NULL is fine. */
void blob_pause(struct blob_writer *w);
/* Open a part for reading: a descriptor, or ERR_NOT_FOUND. */
int blob_open_part(struct blob_store *s, const char *id, struct err *e);
/* Length and hash of a whole blob. ERR_NOT_FOUND when there is none. */
int blob_look(struct blob_store *s, const char *id, struct blob_info *out, struct err *e);

/* Open for reading: a descriptor, or ERR_NOT_FOUND. */
int blob_open(struct blob_store *s, const char *id, struct err *e);
/* Whether recordings could be removed now: ERR_IO. To be asked before their jobs go. */
int blob_store_writable(struct blob_store *s, struct err *e);
/* Also its part. What is not there counts as removed. */
int blob_remove(struct blob_store *s, const char *id, struct err *e);

/* Remove what a crash left: blobs, and parts that nobody writes, for which `wanted` says
 * 0, and names in the scratch folder. A negative answer of `wanted` ends the sweep.
 * Returns how many went, or an error. */
typedef int (*blob_wanted_fn)(void *arg, const char *id);
int blob_sweep(struct blob_store *s, blob_wanted_fn wanted, void *arg, struct err *e);

/* Whether an upload could be stored now: the folder takes a file and has the reserve. */
int blob_store_ready(struct blob_store *s, struct err *e);

#endif
