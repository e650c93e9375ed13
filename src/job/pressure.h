/* How full the disks are, and what follows from it, step by step:
 *
 *     1  low: what has expired is removed at once, and not at the next round
 *     2  uploads are refused (507); all else goes on, and what is being transcribed ends
 *
 * Below that is what storage and database keep in reserve in any case
 * (STORAGE_RESERVE_BYTES and store_room), which is for the results of the jobs that are
 * here. */
#ifndef JOB_PRESSURE_H
#define JOB_PRESSURE_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct jobs;

enum pressure_volume { PRESSURE_STORAGE, PRESSURE_DATABASE, PRESSURE_VOLUMES };
const char *pressure_volume_name(enum pressure_volume v); /* "storage", "database" */

/* The supervisor's, which begins with zeros. */
struct pressure {
    int64_t look_at_ns, purge_at_ns;
    int last;
};

/* The level of so much free space on a disk of that size. `reserve`: what is kept in any
 * case. */
int pressure_level(const struct config *c, uint64_t free_bytes, uint64_t total,
                   uint64_t reserve);

/* The levels now; -1: not a disk of this machine. Cheap. */
void jobs_pressure(struct jobs *s, int level[PRESSURE_VOLUMES]);

/* Called again and again by the supervisor: true when what has expired is to go now. */
bool pressure_mind(struct jobs *s, int64_t now_ns);

#endif
