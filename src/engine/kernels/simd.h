/* What the vector levels share: a vector as wide as the file's instruction set allows, in
 * the compiler's own vector extension, and the functions of one argument on it.
 *
 * Included by the files of one level each, never elsewhere: everything is static. */
#ifndef ENGINE_KERNELS_SIMD_H
#define ENGINE_KERNELS_SIMD_H

#include "engine/kernels/kernels.h"

#include <math.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

#if LANES > 4
#include <immintrin.h>
#endif

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef uint32_t vu __attribute__((vector_size(LANES * 4)));

#define SIMD static inline __attribute__((always_inline))

/* Before a loop of few, known turns. Arrays of vectors stay in registers only when every
 * index is known to the compiler. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

SIMD vf vf_all(float x)
{
    return x - (vf){0};
}

SIMD vf vf_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

SIMD void vf_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

/* The first n of LANES floats; the others are `rest`. */
SIMD vf vf_load_part(const float *p, size_t n, float rest)
{
    vf v = vf_all(rest);
    memcpy(&v, p, n * sizeof *p);
    return v;
}

SIMD vf vf_select(vi mask, vf yes, vf no)
{
    return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}

/* What is not a number loses against the second. The processors have an instruction that
 * is so to the letter, which the compiler does not find. */
SIMD vf vf_max(vf a, vf b)
{
#if LANES == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif LANES == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vf_select(a > b, a, b);
#endif
}

SIMD vf vf_min(vf a, vf b)
{
#if LANES == 16
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif LANES == 8
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vf_select(a < b, a, b);
#endif
}

#if LANES > 4
/* The upper half of 8 onto the lower, then of 4, then of 2. */
SIMD __m256 fold_8(__m256 v)
{
    return _mm256_permute2f128_ps(v, v, 0x81);
}

SIMD __m128 low_8(__m256 v)
{
    return _mm256_castps256_ps128(v);
}
#endif

/* Of all lanes, halves with halves: one after another each would wait for the last. */
SIMD float vf_sum(vf v)
{
#if LANES == 4
    return (v[0] + v[2]) + (v[1] + v[3]);
#else
#if LANES == 16
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256((__m512)v),
                             _mm512_extractf32x8_ps((__m512)v, 1));
#else
    __m256 h = (__m256)v;
#endif
    __m128 q = _mm_add_ps(low_8(h), low_8(fold_8(h)));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
#endif
}

SIMD int32_t vi_sum(vi v)
{
#if LANES == 16
    return _mm512_reduce_add_epi32((__m512i)v);
#else
    int32_t sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += v[i];
    return sum;
#endif
}

SIMD float vf_greatest(vf v)
{
#if LANES == 4
    float most = v[0];
    for (int i = 1; i < LANES; i++)
        most = v[i] > most ? v[i] : most;
    return most;
#else
#if LANES == 16
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256((__m512)v),
                             _mm512_extractf32x8_ps((__m512)v, 1));
#else
    __m256 h = (__m256)v;
#endif
    __m128 q = _mm_max_ps(low_8(h), low_8(fold_8(h)));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
#endif
}

/* e^x for x <= 88, 1.2e-38 below -87.3: x = n ln 2 + r, a minimax polynomial for e^r, and
 * n into the exponent. Relative error 1.5e-7. Adding 1.5 * 2^23 rounds to an integer and
 * leaves it in the low bits. */
SIMD vf vf_exp(vf x)
{
    x = vf_max(x, vf_all(-87.3f));
    const vf magic = vf_all(12582912.0f);
    vf shifted = x * 1.44269504f + magic;
    vf n = shifted - magic;
    vf r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vf p = r * 0.0013814467f + 0.00836878f;
    p = p * r + 0.041668393f;
    p = p * r + 0.1666652f;
    p = p * r + 0.49999994f;
    p = p * (r * r) + r + 1.0f;
    return (vf)((vi)p + ((vi)shifted << 23));
}

/* erf(z) = z P(z²) / Q(z²), a minimax quotient on |z| <= 3.92 (beyond it is 1 in single
 * precision): 1.6e-8 before rounding. */
SIMD vf vf_erf(vf z)
{
    z = vf_min(vf_max(z, vf_all(-3.92f)), vf_all(3.92f));
    vf t = z * z;
    vf p = t * 2.0347309e-6f + 2.8748054e-4f;
    p = p * t + 0.0038683675f;
    p = p * t + 0.0530606024f;
    p = p * t + 0.192764968f;
    p = p * t + 1.128378987f;
    vf q = t * 3.807065e-5f + 0.00118812535f;
    q = q * t + 0.0151723754f;
    q = q * t + 0.11508499831f;
    q = q * t + 0.5041651726f;
    q = q * t + 1.0f;
    return z * p / q;
}

SIMD vf vf_gelu(vf x)
{
    vf half = x * 0.5f;
    return half + half * vf_erf(x * 0.70710678f);
}

/* log10(x) for normal x > 0: x = m 2^n with m in [sqrt(1/2), sqrt 2), then
 * log(1 + f) = f - f²/2 + f³ P(f). */
SIMD vf vf_log10(vf x)
{
    vi bits = (vi)x - 0x3f3504f3;
    vf n = __builtin_convertvector(bits >> 23, vf);
    vf f = (vf)((vi)x - (bits & ~0x7fffff)) - 1.0f;
    vf p = f * -0.07634497f + 0.12761576f;
    p = p * f + -0.13160183f;
    p = p * f + 0.14201757f;
    p = p * f + -0.16623357f;
    p = p * f + 0.20001227f;
    p = p * f + -0.2500082f;
    p = p * f + 0.3333333f;
    vf square = f * f;
    vf natural = f - square * 0.5f + square * f * p;
    return natural * 0.43429448f + n * 0.30103f;
}

#endif
