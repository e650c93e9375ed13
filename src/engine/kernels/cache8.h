/* Keys and values in bytes, for attention by the 8-bit matrix kernel: each position of a
 * head has a scale of its own, for its key and for its value. */
#ifndef ENGINE_KERNELS_CACHE8_H
#define ENGINE_KERNELS_CACHE8_H

#include "engine/kernels/simd.h"

typedef uint8_t cache_bytes __attribute__((vector_size(LANES)));

/* The greatest number to 127; returns the inverse of what they are multiples of. */
static float cache_scale(const float *x, size_t n, float *scale)
{
    vf top = vf_all(0);
    for (size_t i = 0; i < n; i += LANES) {
        vf v = vf_load(x + i);
        top = vf_max(vf_max(v, vf_all(0) - v), top);
    }
    float greatest = vf_greatest(vf_min(top, vf_all(3e38f)));
    *scale = greatest > 1e-30f ? greatest / 127 : 0;
    return greatest > 1e-30f ? 127 / greatest : 0;
}

/* What is no number is 128, which stands for nothing. Adding 1.5 * 2^23 rounds to nearest
 * even. */
SIMD vu cache_codes(const float *x, float inverse)
{
    const vf magic = vf_all(12582912.0f), most = vf_all(127);
    vf v = vf_load(x) * inverse;
    v = vf_select(v == v, v, vf_all(0));
    v = vf_min(vf_max(v, vf_all(0) - most), most);
    return (vu)(__builtin_convertvector((v + magic) - magic, vi) + 128);
}

/* 4 columns of a key lie side by side. */
SIMD void put_key(uint8_t *to, vu codes)
{
    cache_bytes bytes = __builtin_convertvector(codes, cache_bytes);
    uint8_t plain[LANES];
    memcpy(plain, &bytes, sizeof plain);
    UNROLL
    for (int i = 0; i < LANES; i += 4)
        memcpy(to + (size_t)i * KERNEL_LANES, plain + i, 4);
}

static void store_bytes_lanes(const struct store_bytes *a)
{
    float key[KERNEL_LANES] = {0}, value[KERNEL_LANES] = {0};
    size_t size = (size_t)a->head_size;
    for (size_t t = 0; t < KERNEL_LANES; t++) {
        a->key_scales[t] = a->value_scales[t] = 0;
        if (t >= (size_t)a->rows)
            continue;
        key[t] = cache_scale(a->keys_in + t * a->stride, size, &a->key_scales[t]);
        value[t] = cache_scale(a->values_in + t * a->stride, size, &a->value_scales[t]);
    }
    for (size_t t = 0; t < KERNEL_LANES; t += 4) {
        for (size_t c = 0; c < size; c += LANES) {
            vu word = {0};
            UNROLL
            for (size_t i = 0; i < 4; i++) {
                /* Rows that are not there are nothing, read from one that is. */
                size_t row = t + i < (size_t)a->rows ? t + i : 0;
                vu k = cache_codes(a->keys_in + row * a->stride + c, key[t + i]);
                vu v = cache_codes(a->values_in + row * a->stride + c, value[t + i]);
                put_key(a->keys + c * KERNEL_LANES + (t + i) * 4, k);
                word |= v << (8 * (uint32_t)i);
            }
            memcpy(a->values + c / KERNEL_LANES * a->value_stride + t * KERNEL_LANES +
                       c % KERNEL_LANES * 4,
                   &word, sizeof word);
        }
    }
}

#endif
