/* Softmax attention of some query rows over a cache, for one head. */
#ifndef ENGINE_ATTENTION_H
#define ENGINE_ATTENTION_H

#include "engine/net.h"

struct attention {
    const struct kv *cache; /* borrowed */
    const float *query;     /* [rows][query_stride], all heads */
    float *out;             /* [rows][out_stride], all heads; may be the query */
    size_t query_stride, out_stride;
    int rows;
    /* A cache of 16-bit numbers is neither causal nor seen; one of bytes is not causal.
     */
    int keys;    /* positions of the cache that the last row sees */
    bool causal; /* each row before the last sees one position less */
    float *seen; /* NULL, or [rows][n_seen]: receives the first probabilities of each */
    int n_seen;
};

/* One head; `thread` is the pool's index of the caller, for its scratch. */
void attention_head(const struct net *n, const struct attention *a, int head, int thread);

#endif
