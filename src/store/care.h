/* Looking through a database for damage, and giving back what it does not need. */
#ifndef STORE_CARE_H
#define STORE_CARE_H

#include "store/store.h"

/* One thing that is wrong, in a sentence. */
typedef void (*store_finding_fn)(void *arg, const char *sentence);

struct store_vacuumed {
    int64_t before_bytes, after_bytes; /* of the database; 0: not known */
    bool whole; /* otherwise only what can be done beside a service */
};

struct store_care_ops {
    int (*check)(struct store *s, bool quick, store_finding_fn fn, void *arg,
                 struct err *e);
    int (*vacuum)(struct store *s, struct store_vacuumed *out, struct err *e);
};
extern const struct store_care_ops sqlite_care_ops; /* sqlite_care.c */
extern const struct store_care_ops pg_care_ops;     /* pg_care.c */

/* Read all of it and tell what is wrong: pages, indexes, references, the search. `quick`
 * leaves out whether indexes and tables agree. A service may run. An error says that it
 * could not be looked through. */
static inline int store_check(struct store *s, bool quick, store_finding_fn fn, void *arg,
                              struct err *e)
{
    return s->ops->care->check(s, quick, fn, arg, e);
}

/* Give the space of what was deleted back to the disk, and learn anew what the tables
 * hold. Beside a service, an SQLite file is not written anew when that would keep the
 * service waiting: then only its journal goes. ERR_FULL when there is no room for it. */
static inline int store_vacuum(struct store *s, struct store_vacuumed *out, struct err *e)
{
    return s->ops->care->vacuum(s, out, e);
}

#endif
