/* This process and those that it has started, as the kernel counts what they take. */
#ifndef BASE_PROCESSES_H
#define BASE_PROCESSES_H

#include <stdint.h>

enum process_place {
    PROCESS_SELF,
    PROCESS_CHILD,      /* that it has started */
    PROCESS_GRANDCHILD, /* that those have started, and so on */
    PROCESS_PLACES
};

struct processes {
    struct {
        int64_t count;
        uint64_t resident; /* bytes; what several share, each of them has */
    } places[PROCESS_PLACES];
    double cpu_seconds;        /* of all, those that have ended as well */
    int64_t threads;           /* of this process, as are the others */
    int64_t files, files_most; /* open descriptors, and how many there may be */
    uint64_t virtual_bytes;
    double own_cpu_seconds;
    double started_seconds; /* since 1970 */
};

/* What cannot be known is 0. Reads a file for each process of the machine. */
void processes_look(struct processes *out);

#endif
