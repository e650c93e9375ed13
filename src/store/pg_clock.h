/* The server's clock, as far as it is known. Leases are times that all machines must
 * agree on, while the clock of one of them may be wrong, or set while it runs: what is
 * compared with other machines' times goes by the server's. Between two looks, time is
 * what our monotonic clock says, which nobody sets. */
#ifndef STORE_PG_CLOCK_H
#define STORE_PG_CLOCK_H

#include "store/pg_pool.h"

/* Ask for it. */
int pg_clock_look(struct pg_store *s, struct pg_conn *c, struct err *e);
/* The server has just said what it is there. */
void pg_clock_note(struct pg_store *s, int64_t server_ms);

/* A time of our wall clock, taken just now or counted from now, as the server's. */
int64_t pg_clock_of(struct pg_store *s, int64_t wall_ms);

#endif
