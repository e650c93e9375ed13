/* One member of a .tgz, and nothing else of it. */
#ifndef CATALOG_UNPACK_H
#define CATALOG_UNPACK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Write the regular file `member`, which must have `bytes` bytes, from the archive to the
 * open file `fd`. ERR_CORRUPT when the archive is damaged, does not hold it or is made to
 * exhaust; ERR_CANCELLED when `cancelled` (may be NULL) says so. */
int unpack_member(const char *archive_path, const char *member, uint64_t bytes, int fd,
                  bool (*cancelled)(void *arg), void *cancelled_arg, struct err *e);

#endif
