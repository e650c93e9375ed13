/* Time: wall clock for records, monotonic clock for durations. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970-01-01 UTC. */
int64_t clock_wall_ms(void);
/* Nanoseconds and seconds from an arbitrary start; never go back. */
int64_t clock_monotonic_ns(void);
double clock_monotonic_seconds(void);

#define CLOCK_ISO_SIZE 32
/* RFC 3339 in UTC with milliseconds, "2026-08-01T12:00:00.000Z". Returns `out`. */
const char *clock_iso(int64_t wall_ms, char out[CLOCK_ISO_SIZE]);

#endif
