/* A database from what snapshot_pour gave: in the place of the settings, or in a scratch
 * place to see whether it can be done. Nothing is there before rebuild_commit, and then
 * all of it, whenever the process ends. */
#ifndef STORE_REBUILD_H
#define STORE_REBUILD_H

#include "store/snapshot.h"

struct rebuild;

/* Whether there is a database of ours. ERR_STATE when a service uses it now. */
int rebuild_look(const char *url, bool *there, struct err *e);

/* `kind` and `schema` are those of the snapshot; ERR_INVALID when `url` is of another
 * kind, ERR_UNSUPPORTED for a schema that this version does not know. `scratch` NULL: in
 * the place of the URL, where no service may start meanwhile; else only to look, with
 * files in that folder, and beside services. */
int rebuild_open(struct rebuild **out, const char *url, const char *kind, int schema,
                 const char *scratch, struct err *e);
/* What was poured, in pieces of any size. ERR_CORRUPT when it is none of it. */
int rebuild_write(struct rebuild *r, const void *bytes, size_t length, struct err *e);
/* All is written: whether it is sound, its newest transcript can be read, and how much is
 * in it. Needed before the commit. */
int rebuild_check(struct rebuild *r, struct snapshot_counts *counts, struct err *e);
/* Now it is there. What was there before is kept; where is appended to `aside`. Not for
 * one in a scratch place. */
int rebuild_commit(struct rebuild *r, struct buf *aside, struct err *e);
/* In every case; NULL is fine. */
void rebuild_close(struct rebuild *r);

#endif
