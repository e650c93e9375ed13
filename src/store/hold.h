/* Recordings that stay where they are while a copy of them is made.
 *
 * A copy is of one moment of the database. The recordings that it names are read after
 * that, and must not go meanwhile, though their jobs may. So whoever makes a copy keeps a
 * setting with a time in it and moves that on; whoever would remove a recording, having
 * removed what tells of it, looks, and waits while that time lies ahead. A maker that was
 * killed moves nothing on: nothing is held for longer than STORE_HOLD_MS. That it was
 * long enough is never relied upon: a recording that is gone makes no copy. */
#ifndef STORE_HOLD_H
#define STORE_HOLD_H

#include "store/store.h"

#define STORE_HOLD    "backup_hold"
#define STORE_HOLD_MS INT64_C(60000)

/* Whether recordings are held now. A database that does not answer holds them: they can
 * be removed later, but not brought back. */
bool store_is_held(struct store *s);

#endif
