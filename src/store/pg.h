/* The PostgreSQL back end: a pool of connections; several processes may use the same
 * database at the same time. */
#ifndef STORE_PG_H
#define STORE_PG_H

#include "store/store.h"

/* Connect to "postgresql://USER:PASSWORD@HOST:PORT/DATABASE": see store_open. */
int pg_store_open(struct store **out, const char *url,
                  const struct store_options *options, struct err *e);

#endif
