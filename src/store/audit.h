/* What happened to the doors: keys that were made and revoked, callers that were refused.
 *
 * The newest STORE_AUDIT_KEPT entries are kept. */
#ifndef STORE_AUDIT_H
#define STORE_AUDIT_H

#include "store/store.h"

#define STORE_AUDIT_KEPT 100000

struct store_audit_entry {
    int64_t id;      /* rises; set by the store */
    int64_t time_ms; /* since 1970 */
    char event[32];  /* "key_created", "refused" … */
    char caller[80]; /* a key's id or "proxy:NAME"; "": unknown */
    char client[48]; /* an address, or "shell" */
    char detail[256];
};

struct store_audit_list {
    struct store_audit_entry *entries; /* owned [count] */
    size_t count;
};
void store_audit_list_release(struct store_audit_list *l);

struct store_audit_ops {
    int (*add)(struct store *s, const struct store_audit_entry *x, struct err *e);
    int (*list)(struct store *s, int64_t before, int64_t limit,
                struct store_audit_list *out, struct err *e);
};
extern const struct store_audit_ops sqlite_audit_ops; /* sqlite_audit.c */

static inline int store_audit_add(struct store *s, const struct store_audit_entry *x,
                                  struct err *e)
{
    return s->ops->audit->add(s, x, e);
}

/* Newest first, at most `limit`, with an id below `before` (0: all). Release it. */
static inline int store_audit_list(struct store *s, int64_t before, int64_t limit,
                                   struct store_audit_list *out, struct err *e)
{
    return s->ops->audit->list(s, before, limit, out, e);
}

#endif
