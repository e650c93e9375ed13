/* Keys and values of one attention layer, in the panel layout of the weights, so that the
 * matrix kernels compute scores and sums of values directly:
 *
 *   keys   [heads][capacity / 16][head_size][16]   key t is output row t of a matrix
 *   values [heads][head_size / 16][capacity][16]   key t is column t of a matrix
 */
#ifndef ENGINE_KVCACHE_H
#define ENGINE_KVCACHE_H

#include <stdbool.h>
#include <stddef.h>

struct kv {
    float *keys, *values;           /* borrowed from the net's memory */
    int heads, head_size, capacity; /* capacity: a multiple of 16 */
};

/* Floats that keys, and likewise values, take; false when that does not fit. */
bool kv_floats(int heads, int head_size, int capacity, size_t *out);

/* Elements from panel to panel. */
size_t kv_key_stride(const struct kv *c);
size_t kv_value_stride(const struct kv *c);
const float *kv_keys(const struct kv *c, int head);
const float *kv_values(const struct kv *c, int head);

/* Put key and value of one position, [heads * head_size] each. */
void kv_store(struct kv *c, int position, const float *key, const float *value);

/* The first `length` positions of another cache of the same shape. */
void kv_copy(struct kv *to, const struct kv *from, int length);

#endif
