/* Unlinked files: for the samples of a recording, and for input that comes as a stream.
 */
#ifndef MEDIA_SCRATCH_H
#define MEDIA_SCRATCH_H

#include "base/err.h"

/* A file without a name in `folder` (NULL: TMPDIR, else /tmp), open for reading and
 * writing; it vanishes with its last descriptor. Returns the descriptor or a negative
 * code. */
int scratch_open(const char *folder, struct err *e);

/* The folder that stands for NULL. Borrowed. */
const char *scratch_default(void);

#endif
