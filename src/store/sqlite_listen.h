/* What other processes change in an SQLite file: the operator's verbs beside a service.
 */
#ifndef STORE_SQLITE_LISTEN_H
#define STORE_SQLITE_LISTEN_H

#include "store/sqlite_conn.h"

/* See store_listen. Only the holder of the store's lock hears anything. */
void sqlite_listen(struct store *s, store_news_fn fn, void *arg);

#endif
