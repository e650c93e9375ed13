/* What the machine, or the container on it, has. */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stdint.h>

/* Bytes of memory that this process may use at most: the machine's, or what the control
 * groups around it (version 2 or 1) leave of them. 0 when nobody says. */
uint64_t machine_memory_bytes(void);

/* The memory of the group that has that limit, or of the machine where none has a lower
 * one: what is in use and cannot simply be dropped (files that were read can). Both 0:
 * nobody says. */
struct machine_memory {
    uint64_t used, limit; /* bytes */
};
void machine_memory(struct machine_memory *out);

/* How many processes the kernel has killed so far because memory ran out, on the whole
 * machine. -1: it does not say. */
int64_t machine_oom_kills(void);

#endif
