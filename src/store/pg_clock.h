/* The server's clock. Leases, and ages by which something is deleted, are times that all
 * machines must agree on, while the clock of one of them may be wrong, or set while it
 * runs: what is written into the database, or compared with what is there, goes by the
 * server's. Between two looks, a few seconds, time is what the machine's time since its
 * start adds, which nobody sets. */
#ifndef STORE_PG_CLOCK_H
#define STORE_PG_CLOCK_H

#include "store/pg_pool.h"

/* Ask for it, and agree on it (clock_agree_server). Says so in the log when the clock of
 * this machine is wrong, and when it is right again. */
int pg_clock_look(struct pg_store *s, struct pg_conn *c, struct err *e);
/* The same from an answer that came with something else: when it was asked for, by
 * clock_boot_ms, and what time it is there. */
void pg_clock_note(struct pg_store *s, int64_t asked_ms, int64_t server_ms);

#endif
