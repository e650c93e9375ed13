/* Uploads that come in several requests, survive a restart and become jobs.
 *
 * The bytes are in a part of the storage, the state in a row of the store. Only what was
 * synced counts: the row is written after the sync, and what lies behind its offset is
 * cut off before anything is added. An upload and its job have the same id, so that
 * finishing one twice makes one job. */
#ifndef JOB_RESUMABLE_H
#define JOB_RESUMABLE_H

#include "job/jobs.h"
#include "store/uploads.h"

/* An upload that rests for so long goes. */
#define RESUMABLE_REST_MS (INT64_C(24) * 3600 * 1000)

struct resumable;

/* Make the row: caller, params, metadata and length of `u` are read, id and times are
 * filled in. ERR_TOO_LARGE beyond MAX_FILE_SIZE_MB, ERR_FULL. */
int resumable_create(struct jobs *s, struct store_upload *u, struct err *e);

/* Release `out`. ERR_NOT_FOUND: unknown, expired, or not of `caller` (NULL: of any). */
int resumable_get(struct jobs *s, const char *caller, const char *id,
                  struct store_upload *out, struct err *e);

/* The newer request wins: whoever writes the upload in this service keeps what came
 * (unless that was to count as a whole), lets go of it, and is refused with his next
 * piece. He may be there no more: a connection that died silently looks like one that
 * rests. Returns whether there was any. */
bool resumable_take_over(struct jobs *s, const char *id);

/* Take the upload for writing behind `offset`, from whoever writes it in another service:
 * that one is refused with what it wants to let count next. `whole`: nothing counts
 * before resumable_commit. ERR_EXISTS: it is at another offset, or complete; ERR_CORRUPT:
 * the storage has lost some of it. */
int resumable_open(struct jobs *s, const char *id, int64_t offset, bool whole,
                   struct resumable **out, struct err *e);
/* Say how long it will be, when it was not said before. ERR_INVALID when it was, or is
 * longer already; ERR_TOO_LARGE. */
int resumable_set_length(struct resumable *r, int64_t length, struct err *e);
/* ERR_STATE, as from resumable_commit, when a newer request has taken the upload over.
 * ERR_TOO_LARGE beyond its length or the limit, ERR_FULL; ERR_NOT_MEDIA and
 * ERR_UNSUPPORTED as from upload_write: then resumable_remove is left. */
int resumable_write(struct resumable *r, const void *bytes, size_t length, struct err *e);
/* Sync what was written, then say so in the store. */
int resumable_commit(struct resumable *r, struct err *e);
/* What counts. */
int64_t resumable_offset(struct resumable *r);
/* Let go of it; what was not committed does not count. NULL is fine. */
void resumable_close(struct resumable *r);

/* Make the job of a complete upload, or find the one that was made. */
int resumable_finish(struct jobs *s, const struct store_upload *u,
                     const struct job_request *request, struct job *out, struct err *e);

/* Join partial uploads, which must be complete, into a new one: `u` as for
 * resumable_create, without its length. They go when it is whole. ERR_STATE when one is
 * not complete, ERR_INVALID when one is no part; otherwise as the functions above. */
#define RESUMABLE_PARTS_MAX 100
int resumable_join(struct jobs *s, const char *caller, struct store_upload *u,
                   char (*ids)[ID_SIZE], size_t count, struct err *e);
/* Whether an upload is only a part of one. */
bool resumable_partial(const struct store_upload *u);

/* Ids of complete uploads that are no jobs yet, because we died in between. */
int resumable_unfinished(struct jobs *s, char (*ids)[ID_SIZE], size_t max, size_t *count,
                         struct err *e);

/* Forget an upload and its bytes; its job stays. Whoever writes it is refused. */
int resumable_remove(struct jobs *s, const char *id, struct err *e);

/* Remove what has expired. */
void resumable_prune(struct jobs *s);

/* Open what a claim tells of; `row` is the claim's. Private to resumable*.c. */
struct blob_writer;
int resumable_sit(struct jobs *s, const struct store_upload *row, void *arg,
                  int (*note)(void *arg, int next, struct err *e),
                  struct blob_writer **out, struct err *e);

/* What a call of the store has returned: damage of the database is not that of the
 * upload, which its client would give up. Private to resumable*.c. */
int resumable_blame_store(int status, struct err *e);

/* For the sweep of the storage: 1 when an upload needs the files of that id, else 0; or
 * an error. */
int resumable_wanted(struct jobs *s, const char *id);

#endif
