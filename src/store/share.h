/* Jobs that several requests share, and what a running one has said so far. */
#ifndef STORE_SHARE_H
#define STORE_SHARE_H

#include "store/store.h"

/* JSON of segments, one text for each window that had any. */
struct store_windows {
    char **list; /* owned [count] */
    size_t count;
};
void store_windows_release(struct store_windows *w);

struct store_share_ops {
    int (*insert)(struct store *s, const struct job *j, const char *sha256,
                  const char *key, int64_t since_ms, char existing[ID_SIZE],
                  struct err *e);
    int (*windows)(struct store *s, const char *id, int64_t from,
                   struct store_windows *out, struct err *e);
};

/* The row of a new job as from store_insert, unless a job of this key is there that was
 * made at `since_ms` or later and is pending, processing or completed: then nothing is
 * written and `existing` names it ("" otherwise). A job that failed or was cancelled
 * gives its key to the new one. Two that come at the same time become one. */
static inline int store_insert_shared(struct store *s, const struct job *j,
                                      const char *sha256, const char *key,
                                      int64_t since_ms, char existing[ID_SIZE],
                                      struct err *e)
{
    return s->ops->share->insert(s, j, sha256, key, since_ms, existing, e);
}

/* The finished windows of a job that is not completed, from the `from`th one on (the
 * first is 0). None for a job that there is not. `out` is filled on success only. */
static inline int store_windows(struct store *s, const char *id, int64_t from,
                                struct store_windows *out, struct err *e)
{
    return s->ops->share->windows(s, id, from, out, e);
}

#endif
