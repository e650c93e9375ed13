/* The storage: recordings, named by ids that we made, in a folder or in a bucket of
 * object storage.
 *
 *     uploads/<id>                whole and durable
 *     uploads/<id>.part           while it comes in (a folder only)
 *     parts/<id>.<token>          what a sitting of several has written; see blob_resume
 *
 * Several processes on several machines may share it. Nothing here is locked, for a lock
 * on a shared folder is another service that may be away or forget: who may write is
 * told by the database, and who has been overtaken writes where nobody looks. A name that
 * a caller gave never becomes a path. */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"
#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob_store;
struct s3_options;

/* A folder: make what is needed under `folder`. Writing is refused (ERR_FULL) while fewer
 * than `reserve_bytes` are free there. */
int blob_store_open(struct blob_store **out, const char *folder, uint64_t reserve_bytes,
                    struct err *e);
/* A bucket: all names begin with `prefix`, which may be "". Nothing is asked of the
 * server. `scratch` is a folder on this machine. */
int blob_store_open_s3(struct blob_store **out, const struct s3_options *options,
                       const char *prefix, const char *scratch, struct err *e);
/* What the settings say. */
int blob_store_open_as_set(struct blob_store **out, const struct config *c,
                           uint64_t reserve_bytes, struct err *e);
void blob_store_close(struct blob_store *s);
/* Whoever waits for a server is sent away soon: for those who end. */
void blob_store_stop(struct blob_store *s);

/* Overwrite recordings in a folder before they are removed; a bucket's are its server's
 * business. */
void blob_store_wipe(struct blob_store *s);

/* Where the decoder may spool. Borrowed. */
const char *blob_store_scratch(const struct blob_store *s);
/* What it is called, for messages. Borrowed. */
const char *blob_store_name(const struct blob_store *s);
/* Whether opening a recording means fetching it from a server. */
bool blob_store_is_remote(const struct blob_store *s);

struct blob_writer;

/* Begin the blob of a new id. */
int blob_begin(struct blob_store *s, const char *id, struct blob_writer **out,
               struct err *e);
/* After an error only blob_abort is left to call, or blob_pause. */
int blob_write(struct blob_writer *w, const void *bytes, size_t length, struct err *e);

struct blob_info {
    int64_t bytes;
    char sha256[65]; /* lower-case hex */
};
/* Durable under its name. Frees the writer in every case; on error nothing is there, and
 * what several sittings had brought is as it was. ERR_NOT_FOUND: what they had brought is
 * not there any more. */
int blob_finish(struct blob_writer *w, struct blob_info *out, struct err *e);
/* Forget it and all that it has written; NULL is fine. */
void blob_abort(struct blob_writer *w);

/* ---- a recording that comes in several sittings ---- */

/* What is durable is described by a text, the state, which the caller keeps, and without
 * which it cannot be found. A sitting that follows one which let go (`clean`) goes on in
 * what that has begun; one that follows another which may write still begins something of
 * its own, so that a late writer cannot harm it. */
struct blob_sitting {
    const char *id;
    const char *state; /* NULL or "": nothing is there */
    int64_t received;  /* for a part of a version that kept no state: its bytes; 0 */
    bool clean;
    int next; /* what `note` was told last; 0: nothing */
    /* Keep the number: none below it is used again, whatever becomes of this sitting.
     * NULL: not needed, the next sitting is `clean` or begins with nothing. An error ends
     * the writing. */
    int (*note)(void *arg, int next, struct err *e);
    void *arg;
};
/* ERR_NOT_FOUND when what the state tells of is not there any more, ERR_CORRUPT when it
 * is not all there. */
int blob_resume(struct blob_store *s, const struct blob_sitting *sitting,
                struct blob_writer **out, struct err *e);
/* Make what was written durable, and say how to find it; *bytes are those that the state
 * tells of. Not `all`: only what costs little, so that some of it may stay behind. */
int blob_sync(struct blob_writer *w, bool all, struct buf *state, int64_t *bytes,
              struct err *e);
/* Whether blob_sync without `all` has something to say that is worth it. */
bool blob_sync_is_due(const struct blob_writer *w);
/* The state that blob_sync made last is kept: what only former ones tell of may go. */
void blob_kept(struct blob_writer *w);
/* Bytes in all. */
int64_t blob_bytes(const struct blob_writer *w);
/* Its first bytes, as many as there are and fit, 512 at most; how many. Not of a sitting
 * that began behind them. */
size_t blob_head(const struct blob_writer *w, void *out, size_t size);
/* Let go of it: what was not synced is lost; NULL is fine. */
void blob_pause(struct blob_writer *w);
/* Remove all that sittings have written, whatever their states are; one of them, if it is
 * known. */
int blob_discard(struct blob_store *s, const char *id, const char *state, struct err *e);

/* Pieces as they come; a negative answer ends it. */
typedef int (*blob_data_fn)(void *arg, const void *bytes, size_t length, struct err *e);

/* ---- what is whole ---- */

/* Length and hash of a whole blob. ERR_NOT_FOUND when there is none. Reads all of it. */
int blob_look(struct blob_store *s, const char *id, struct blob_info *out, struct err *e);
/* Its length alone. */
int blob_size(struct blob_store *s, const char *id, int64_t *bytes, struct err *e);
/* `length` bytes from `first` on. */
int blob_read(struct blob_store *s, const char *id, int64_t first, int64_t length,
              blob_data_fn data, void *arg, struct err *e);
/* Open for reading: a descriptor of all of it, or ERR_NOT_FOUND. From a server it is
 * fetched into an unlinked file in the scratch folder first. */
int blob_open(struct blob_store *s, const char *id, struct err *e);
/* Whether recordings could be removed now: ERR_IO. To be asked before their jobs go. */
int blob_store_writable(struct blob_store *s, struct err *e);
/* What is not there counts as removed. */
int blob_remove(struct blob_store *s, const char *id, struct err *e);

/* Remove what a crash left, names in the scratch folder, and what is older than `age_ms`
 * by the clock of the storage: blobs and parts for which `wanted` says 0. A negative
 * answer of `wanted` ends the sweep. Returns how many went, or an error. */
typedef int (*blob_wanted_fn)(void *arg, const char *id, bool is_part);
int blob_sweep(struct blob_store *s, int64_t age_ms, blob_wanted_fn wanted, void *arg,
               struct err *e);

/* Whether an upload could be stored now. */
int blob_store_ready(struct blob_store *s, struct err *e);
/* Write, read and remove something, for those who set it up. */
int blob_store_try(struct blob_store *s, struct err *e);

#endif
