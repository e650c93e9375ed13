/* Keys and values of one attention layer, in the panel layout of the weights, so that the
 * matrix kernels compute scores and sums of values directly:
 *
 *   keys   [heads][capacity / 16][head_size][16]   key t is output row t of a matrix
 *   values [heads][head_size / 16][capacity][16]   key t is column t of a matrix
 *
 * In whole numbers of 16 bits, for kernels->attend, and in bytes, for gemm_s8_16, as
 * kernels.h says, head after head. */
#ifndef ENGINE_KVCACHE_H
#define ENGINE_KVCACHE_H

#include "engine/kernels/kernels.h"
#include "engine/model.h"

struct kv {
    void *keys, *values;              /* borrowed from the net's memory */
    enum weight_type type;            /* floats, halves, WEIGHT_S16 or WEIGHT_S8 */
    float *key_scales, *value_scales; /* of whole numbers: [heads][capacity]; values of
                                       * 16 bits: [heads][head_size]; borrowed */
    int heads, head_size, capacity;   /* multiples of 16; the capacity of 32 */
};

/* Bytes that keys, and likewise values, take; false when that does not fit. */
bool kv_bytes(const struct kv *shape, size_t *out);

/* Elements from panel to panel. */
size_t kv_key_stride(const struct kv *c);
size_t kv_value_stride(const struct kv *c);
const void *kv_keys(const struct kv *c, int head);
const void *kv_values(const struct kv *c, int head);

/* Put key and value of one position, [heads * head_size] each. Halves hold no more than
 * 65504: what is larger is cut to that. */
void kv_store(struct kv *c, const struct kernels *k, int position, const float *key,
              const float *value);

/* Keys of positions [position, position + rows) of whole numbers, at most 16 from a
 * multiple of 16 on, from rows [heads * head_size] that lie `stride` floats apart. */
void kv_store_keys_16(struct kv *c, const struct kernels *k, int position,
                      const float *keys, size_t stride, int rows);
/* Their values. The value scales are the caller's to set; inverses [heads * head_size]
 * are ATTEND_VALUES by the greatest. */
void kv_store_values_16(struct kv *c, const struct kernels *k, int position,
                        const float *values, size_t stride, int rows,
                        const float *inverses);

/* Both in bytes, whose scales are found here. */
void kv_store_8(struct kv *c, const struct kernels *k, int position, const float *keys,
                const float *values, size_t stride, int rows);

/* Positions first … length - 1 of another cache of the same shape; some before may be
 * copied with them. */
void kv_copy(struct kv *to, const struct kv *from, int first, int length);

#endif
