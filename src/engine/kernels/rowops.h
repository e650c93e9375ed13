/* Operations on rows for the vector levels; cpu.c has the plain ones that they are
 * compared with. */
#ifndef ENGINE_KERNELS_ROWOPS_H
#define ENGINE_KERNELS_ROWOPS_H

#include "engine/kernels/simd.h"

SIMD int32_t load_word(const void *at)
{
    int32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* To nearest even, of what is below 2^22: the processor's own way, or by adding 1.5 *
 * 2^23. */
SIMD vi vf_round(vf x)
{
#if LANES == 16
    return (vi)_mm512_cvtps_epi32((__m512)x);
#elif LANES == 8
    return (vi)_mm256_cvtps_epi32((__m256)x);
#else
    const vf magic = vf_all(12582912.0f);
    return __builtin_convertvector((x + magic) - magic, vi);
#endif
}

#if defined(__x86_64__)
/* sum + the products of pairs of 16-bit numbers. */
SIMD vi vi_add_pairs(vi sum, vi a, vi b)
{
#if defined(__AVX512VNNI__)
    return (vi)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVXVNNI__)
    return (vi)_mm256_dpwssd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
#elif LANES == 16
    return sum + (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif LANES == 8
    return sum + (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#endif
}
#endif

static void gelu_lanes(float *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(x + i, vf_gelu(vf_load(x + i)));
    if (i < n) {
        vf last = vf_gelu(vf_load_part(x + i, n - i, 0));
        memcpy(x + i, &last, (n - i) * sizeof *x);
    }
}

static float row_greatest(const float *x, size_t n)
{
    size_t i = 0;
    vf most = vf_all(-INFINITY);
    for (; i + LANES <= n; i += LANES)
        most = vf_max(vf_load(x + i), most);
    if (i < n)
        most = vf_max(vf_load_part(x + i, n - i, -INFINITY), most);
    return vf_greatest(most);
}

static void softmax_lanes(float *x, size_t n, float scale)
{
    vf shift = vf_all(row_greatest(x, n)), sum = vf_all(0);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf p = vf_exp((vf_load(x + i) - shift) * scale);
        sum += p;
        vf_store(x + i, p);
    }
    float total = vf_sum(sum);
    if (i < n) {
        vf p = vf_exp((vf_load_part(x + i, n - i, -INFINITY) - shift) * scale);
        memcpy(x + i, &p, (n - i) * sizeof *x);
        for (size_t j = i; j < n; j++)
            total += x[j];
    }
    float inverse = 1.0f / total;
    for (i = 0; i + LANES <= n; i += LANES)
        vf_store(x + i, vf_load(x + i) * inverse);
    for (; i < n; i++)
        x[i] *= inverse;
}

static float row_mean(const float *x, size_t n)
{
    size_t i = 0;
    vf sum = vf_all(0);
    for (; i + LANES <= n; i += LANES)
        sum += vf_load(x + i);
    float total = vf_sum(sum);
    for (; i < n; i++)
        total += x[i];
    return total / (float)n;
}

static float row_variance(const float *x, size_t n, float mean)
{
    size_t i = 0;
    vf sum = vf_all(0);
    for (; i + LANES <= n; i += LANES) {
        vf d = vf_load(x + i) - mean;
        sum += d * d;
    }
    float total = vf_sum(sum);
    for (; i < n; i++)
        total += (x[i] - mean) * (x[i] - mean);
    return total / (float)n;
}

static void layer_norm_lanes(float *y, const float *x, const float *gain,
                             const float *bias, size_t n)
{
    float mean = row_mean(x, n);
    float inverse = 1.0f / sqrtf(row_variance(x, n, mean) + 1e-5f);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = (vf_load(x + i) - mean) * inverse;
        vf_store(y + i, v * vf_load(gain + i) + vf_load(bias + i));
    }
    for (; i < n; i++)
        y[i] = (x[i] - mean) * inverse * gain[i] + bias[i];
}

static void log10_lanes(float *x, size_t n, float floor)
{
    vf least = vf_all(floor), most = vf_all(3e38f);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(x + i, vf_log10(vf_min(vf_max(vf_load(x + i), least), most)));
    if (i < n) {
        vf last = vf_max(vf_load_part(x + i, n - i, 1), least);
        last = vf_log10(vf_min(last, most));
        memcpy(x + i, &last, (n - i) * sizeof *x);
    }
}

static void greatest_lanes(float *most, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = vf_load(x + i);
        vf_store(most + i, vf_max(vf_max(v, vf_all(0) - v), vf_load(most + i)));
    }
    for (; i < n; i++)
        most[i] = fabsf(x[i]) > most[i] ? fabsf(x[i]) : most[i];
}

#endif
