/* The time of a database that is a file: that of base/trust.h, kept in the file itself.
 */
#ifndef STORE_SQLITE_CLOCK_H
#define STORE_SQLITE_CLOCK_H

#include "store/sqlite_conn.h"

/* Agree (clock_agree) on what the service that has the file believes, or believed. The
 * log of changes gets its times from here, too. */
int sqlite_clock_open(struct sqlite_store *s, struct err *e);

/* The service itself looks at the wall clock, says so when it has jumped, and moves times
 * along when a new one is believed. A command beside it changes nothing. */
void sqlite_clock_look(struct sqlite_store *s);

/* Write down the time that it was. */
void sqlite_clock_close(struct sqlite_store *s);

#endif
