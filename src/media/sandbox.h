/* The cell of the decoder: after sandbox_lock the process can read one descriptor, write
 * two and compute. */
#ifndef MEDIA_SANDBOX_H
#define MEDIA_SANDBOX_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

struct sandbox {
    unsigned cpu_seconds; /* of processor time, then SIGXCPU */
    size_t memory_bytes;  /* of address space beyond what is in use now */
    pid_t parent;         /* die with it; it must still be our parent */
    int input;            /* pread(2) only */
    int output[2];        /* write(2) only */
};

/* Lock this process in, for good. Call it before the first hostile byte is read, from the
 * only thread. ERR_DENIED when the system call filter cannot be set: then nothing may be
 * decoded. The further walls (namespaces, Landlock, user) are put up where the kernel and
 * the container permit it, and are not missed where they do not: the filter alone leaves
 * no system call that opens anything. */
int sandbox_lock(const struct sandbox *s, struct err *e);

#endif
