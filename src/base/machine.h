/* What the machine, or the container on it, has. */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stdint.h>

/* Bytes of memory that this process may use at most: the machine's, or what the control
 * groups around it (version 2 or 1) leave of them. 0 when nobody says. */
uint64_t machine_memory_bytes(void);

#endif
