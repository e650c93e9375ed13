/* Time: which of several clocks is meant.
 *
 * The machine's wall clock can be set by anybody at any moment: by its owner, by NTP
 * after a start without a battery, by a host that restores a virtual machine. What is
 * compared with times that were written down earlier, or elsewhere, therefore goes by an
 * agreed time, which the store provides once it is open: with a server for a database,
 * that server's; with a file, the wall clock's as long as it makes no jump
 * (base/trust.h). Both are kept as a distance from the time since the machine was
 * started, which nobody sets. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970-01-01 UTC, as this machine believes: for log lines and for
 * people outside, never to be compared with what is in the store. */
int64_t clock_wall_ms(void);
/* Milliseconds since the machine was started, its sleep included. */
int64_t clock_boot_ms(void);
/* Nanoseconds and seconds from an arbitrary start; never go back. For durations, waits
 * and limits within this process. */
int64_t clock_monotonic_ns(void);
double clock_monotonic_seconds(void);

/* The agreed time, in milliseconds since 1970: for whatever is written into the store or
 * compared with it. That of the wall clock until somebody agreed on something. */
int64_t clock_now_ms(void);
/* The time that it is at least, beyond doubt: what is deleted because of its age is old
 * by this one. The same as clock_now_ms, or earlier while there is doubt about that. */
int64_t clock_sure_ms(void);
/* For leases: no step of any clock of this machine is seen in it. */
int64_t clock_lease_ms(void);

/* From now on these are the distances of the agreed and of the sure time from
 * clock_boot_ms. Leases follow the first ones of a process alone … */
void clock_agree(int64_t now_ahead_ms, int64_t sure_ahead_ms);
/* … or those of a server, which all who hold leases there agree on. */
void clock_agree_server(int64_t ahead_ms);

#define CLOCK_ISO_SIZE 32
/* RFC 3339 in UTC with milliseconds, "2026-08-01T12:00:00.000Z". Returns `out`. */
const char *clock_iso(int64_t wall_ms, char out[CLOCK_ISO_SIZE]);

#endif
