/* Arithmetic from register to register: an instruction in CHAINS independent chains, more
 * than latency times units, whose inputs the compiler cannot see through. */
#include "limits_loops.h"

#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define CHAINS 12

#if defined(__x86_64__)
#define HIDE(v) __asm__ volatile("" : "+x"(v))
#elif defined(__aarch64__)
#define HIDE(v) __asm__ volatile("" : "+w"(v))
#else
#define HIDE(v) __asm__ volatile("" : "+m"(v))
#endif

/* `step` is the next value of the sum c, from a and b. */
#define LOOP(name, features, type, step)                                                 \
    features static void name(int64_t rounds)                                            \
    {                                                                                    \
        type a = {0}, b = {0}, sums[CHAINS];                                             \
        _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) sums[i] = a;           \
        for (int64_t r = 0; r < rounds; r++) {                                           \
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++)                    \
            {                                                                            \
                type c = sums[i];                                                        \
                HIDE(a);                                                                 \
                HIDE(b);                                                                 \
                c = step;                                                                \
                HIDE(c);                                                                 \
                sums[i] = c;                                                             \
            }                                                                            \
        }                                                                                \
    }
#define USES(features) __attribute__((target(features)))

/* Without instructions of its own: the C level. */
typedef float floats __attribute__((vector_size(16)));
typedef int32_t ints __attribute__((vector_size(16)));
LOOP(plain_f32, , floats, c + a * b)

#if defined(__x86_64__)
LOOP(plain_s16, , __m128i, _mm_add_epi32(c, _mm_madd_epi16(a, b)))
#define PLAIN_S16_LANES 8
/* Products of 8 bits need the same instruction there: the one of 8 bits saturates. */
LOOP(avx2_f32, USES("avx2,fma"), __m256, _mm256_fmadd_ps(a, b, c))
LOOP(avx2_s16, USES("avx2"), __m256i, _mm256_add_epi32(c, _mm256_madd_epi16(a, b)))
LOOP(avxvnni_s16, USES("avx2,avxvnni"), __m256i, _mm256_dpwssd_avx_epi32(c, a, b))
LOOP(avxvnni_s8, USES("avx2,avxvnni"), __m256i, _mm256_dpbusd_avx_epi32(c, a, b))
LOOP(avx512_f32, USES("avx512f"), __m512, _mm512_fmadd_ps(a, b, c))
LOOP(avx512_s16, USES("avx512bw"), __m512i, _mm512_add_epi32(c, _mm512_madd_epi16(a, b)))
LOOP(vnni_s16, USES("avx512f,avx512vnni"), __m512i, _mm512_dpwssd_epi32(c, a, b))
LOOP(vnni_s8, USES("avx512f,avx512vnni"), __m512i, _mm512_dpbusd_epi32(c, a, b))
LOOP(avx512_bf16, USES("avx512f,avx512bf16"), __m512,
     _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b))

/* Whole tiles of 16 rows by 16 columns of 64 products, which may be used once the engine
 * has asked the system for them (it has, when it chose this level). Six are summed into,
 * the other two multiplied. */
#define TILE_LANES (16 * 16 * 64)
USES("amx-tile,amx-int8") static void amx_s8(int64_t rounds)
{
    _Alignas(64) uint8_t shape[64] = {1}; /* palette; bytes of a row; rows */
    for (int i = 0; i < 8; i++) {
        shape[16 + 2 * i] = 64;
        shape[48 + i] = 16;
    }
    _tile_loadconfig(shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i += 6) {
            _tile_dpbsud(0, 6, 7);
            _tile_dpbsud(1, 6, 7);
            _tile_dpbsud(2, 6, 7);
            _tile_dpbsud(3, 6, 7);
            _tile_dpbsud(4, 6, 7);
            _tile_dpbsud(5, 6, 7);
        }
    _tile_release();
}
#else
LOOP(plain_s16, , ints, c + a * b)
#define PLAIN_S16_LANES 4
#endif
#if defined(__aarch64__)
LOOP(neon_f32, , float32x4_t, vfmaq_f32(c, a, b))
LOOP(neon_s16, , int32x4_t,
     vmlal_s16(c, vget_low_s16(vreinterpretq_s16_s32(a)),
               vget_low_s16(vreinterpretq_s16_s32(b))))
LOOP(neon_s8, USES("arch=armv8.2-a+dotprod"), int32x4_t,
     vdotq_s32(c, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)))
LOOP(neon_pairs_s8, USES("arch=armv8.2-a+i8mm"), int32x4_t, /* 2 rows, 2 columns */
     vmmlaq_s32(c, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)))
#endif

static void put(struct limits_loop *out, size_t *n, const char *name,
                void (*run)(int64_t), int lanes)
{
    out[(*n)++] = (struct limits_loop){name, run, 2.0 * lanes * CHAINS};
}

#if defined(__x86_64__)
static void put_x86(struct limits_loop *out, size_t *n, const char *level)
{
    bool tiles = strcmp(level, "amx") == 0;
    bool dots = tiles || strcmp(level, "avx512vnni") == 0;
    if (dots || strcmp(level, "avx512") == 0) {
        put(out, n, "f32", avx512_f32, 16);
        put(out, n, "s16", dots ? vnni_s16 : avx512_s16, 32);
        if (tiles)
            put(out, n, "s8", amx_s8, TILE_LANES);
        else
            put(out, n, "s8", dots ? vnni_s8 : avx512_s16, dots ? 64 : 32);
        if (__builtin_cpu_supports("avx512bf16"))
            put(out, n, "bf16", avx512_bf16, 32);
    } else if (strncmp(level, "avx", 3) == 0) {
        dots = strcmp(level, "avxvnni") == 0;
        put(out, n, "f32", avx2_f32, 8);
        put(out, n, "s16", dots ? avxvnni_s16 : avx2_s16, 16);
        put(out, n, "s8", dots ? avxvnni_s8 : avx2_s16, dots ? 32 : 16);
    }
}
#elif defined(__aarch64__)
static void put_arm(struct limits_loop *out, size_t *n, const char *level)
{
    if (strcmp(level, "c") == 0)
        return;
    put(out, n, "f32", neon_f32, 4);
    put(out, n, "s16", neon_s16, 4);
    if (strcmp(level, "i8mm") == 0)
        put(out, n, "s8", neon_pairs_s8, 32);
    else if (strcmp(level, "dotprod") == 0)
        put(out, n, "s8", neon_s8, 16);
    else
        put(out, n, "s8", neon_s16, 4);
}
#endif

size_t limits_loops(struct limits_loop *out, const char *level)
{
    size_t n = 0;
#if defined(__x86_64__)
    put_x86(out, &n, level);
#elif defined(__aarch64__)
    put_arm(out, &n, level);
#endif
    if (n == 0) {
        put(out, &n, "f32", plain_f32, 4);
        put(out, &n, "s16", plain_s16, PLAIN_S16_LANES);
        put(out, &n, "s8", plain_s16, PLAIN_S16_LANES);
    }
    return n;
}

void limits_read(const char *memory, size_t bytes)
{
    ints sums[4] = {{0}};
    for (size_t i = 0; i < bytes; i += 64)
        for (size_t j = 0; j < 4; j++)
            sums[j] ^= *(const ints *)(const void *)(memory + i + 16 * j);
    for (int j = 0; j < 4; j++)
        HIDE(sums[j]);
}
