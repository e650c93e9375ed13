/* Where copies are kept: a folder, or a part of a bucket. A name is there with all of its
 * bytes, or not at all, whenever whoever writes it is killed.
 *
 *     copies/<time>-<random>.manifest   a copy; there when all that it names is
 *     objects/<64 hex digits>           what copies are made of; several may share one
 */
#ifndef BACKUP_DEPOT_H
#define BACKUP_DEPOT_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct depot;

/* `where` is a folder or s3://BUCKET/PREFIX. A folder is made when it `writes`, and then
 * it is this process's alone until it is closed: ERR_STATE when another one has it. */
int depot_open(struct depot **out, const struct config *c, const char *where, bool writes,
               struct err *e);
void depot_close(struct depot *d);
/* For messages. Borrowed. */
const char *depot_name(const struct depot *d);

struct depot_writer;
int depot_begin(struct depot *d, const char *name, struct depot_writer **out,
                struct err *e);
int depot_write(struct depot_writer *w, const void *bytes, size_t length, struct err *e);
/* It is there, durable. Frees the writer in every case. */
int depot_finish(struct depot_writer *w, struct err *e);
void depot_abort(struct depot_writer *w); /* NULL is fine */

typedef int (*depot_data_fn)(void *arg, const void *bytes, size_t length, struct err *e);
/* ERR_NOT_FOUND when there is none. */
int depot_read(struct depot *d, const char *name, depot_data_fn data, void *arg,
               struct err *e);
int depot_remove(struct depot *d, const char *name, struct err *e);

/* Names in "copies" or "objects", in any order. */
typedef int (*depot_entry_fn)(void *arg, const char *name, int64_t bytes, struct err *e);
int depot_list(struct depot *d, const char *kind, depot_entry_fn fn, void *arg,
               struct err *e);
/* Remove what writers that were killed have left behind. */
int depot_tidy(struct depot *d, struct err *e);

#endif
