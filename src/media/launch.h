/* Start the decoder's child with nothing but what it needs. */
#ifndef MEDIA_LAUNCH_H
#define MEDIA_LAUNCH_H

#include "base/err.h"

#include <sys/types.h>

struct launched {
    pid_t pid;
    int exited;  /* owned pidfd: readable once the child has ended; -1 where there is none
                  */
    int samples; /* owned, not blocking: what the child writes to CHILD_SAMPLES */
    int record;  /* owned, not blocking: the same of CHILD_RECORD */
};

/* Run `program` (NULL: our own binary) with `arguments` (NULL-terminated, [0] included).
 * `input` becomes its descriptor 0, opened anew for reading where /proc permits, so that
 * nothing the child does moves our offset. It gets an empty environment, its own process
 * group and no other descriptor. Safe among threads. */
int launch_child(struct launched *c, const char *program, char *const *arguments,
                 int input, struct err *e);

/* Kill it unless it has ended, reap it, close everything. Returns its wait status, or -1
 * when that could not be learned. */
int launch_finish(struct launched *c);

#endif
