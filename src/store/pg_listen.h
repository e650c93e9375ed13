/* One connection that waits for what other processes tell (LISTEN), holds the lock that
 * says that this process runs, and notices when the server falls silent. Private to the
 * PostgreSQL back end. */
#ifndef STORE_PG_LISTEN_H
#define STORE_PG_LISTEN_H

#include "store/pg_pool.h"

struct pg_listener;

/* Returns when the lock is held. `p` is borrowed; its instance is this process's number,
 * by which its own news are known. */
int pg_listener_start(struct pg_listener **out, struct pg_pool *p, struct err *e);
/* Whom to tell; NULL: nobody. Waits for a call that is under way. */
void pg_listener_tell(struct pg_listener *l, store_news_fn fn, void *arg);
void pg_listener_close(struct pg_listener *l);

#endif
