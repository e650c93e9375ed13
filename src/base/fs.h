/* Files: whole reads with a limit, durable writes, folders. */
#ifndef BASE_FS_H
#define BASE_FS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

/* mkdir -p, mode 0750. */
int fs_mkdirs(const char *path, struct err *e);

/* The whole file into `out`; ERR_TOO_LARGE beyond out->maximum. */
int fs_read(const char *path, struct buf *out, struct err *e);

/* Write `path` so that after a crash it holds either the old bytes or all the new ones:
 * temporary name in the same folder, fsync, rename, fsync of the folder. */
int fs_write_atomic(const char *path, const void *bytes, size_t length, struct err *e);

/* All of `length` bytes, through short writes and EINTR. */
int fs_write_all(int fd, const void *bytes, size_t length, struct err *e);

/* A file without a name in `folder`, open for reading and writing; it vanishes with its
 * last descriptor, which is returned, or a negative code. `prefix` begins the name that
 * it has for a moment where the file system knows no other way (NFS). */
int fs_open_unnamed(const char *folder, const char *prefix, struct err *e);

/* rename(2), then fsync of the target's folder. */
int fs_rename_durable(const char *from, const char *to, struct err *e);
int fs_sync_folder_of(const char *path, struct err *e);

/* Bytes that a plain user can still write at `path`'s file system. */
int fs_free_bytes(const char *path, uint64_t *out, struct err *e);
/* The same, and all bytes that it has for plain users. */
int fs_space(const char *path, uint64_t *free_bytes, uint64_t *all_bytes, struct err *e);

#endif
