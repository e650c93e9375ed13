/* What the machine, or the container on it, has. */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stdint.h>

/* Bytes of memory that this process may use at most: the machine's, or what the control
 * groups around it (version 2 or 1) leave of them. 0 when nobody says. */
uint64_t machine_memory_bytes(void);

/* How many processes the kernel has killed so far because memory ran out, on the whole
 * machine. -1: it does not say. */
int64_t machine_oom_kills(void);

#endif
