/* AVX-512 (F, DQ, BW, VL): 32 registers of 16 floats. Compiled three times: as it
 * is, with VNNI (8-bit products), and with AMX for many rows of them (amx.h). */
#include "engine/kernels/levels.h"

#include <immintrin.h>

#include "engine/kernels/simd.h"

#define TILE_ROWS 12
#define TILE_SHAPES(X)                                                                   \
    X(1, 8)                                                                              \
    X(2, 8)                                                                              \
    X(3, 8) X(4, 4) X(5, 4) X(6, 4) X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2)

SIMD vf load_half(const uint16_t *p)
{
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)p));
}

#define S8_ROWS   12
#define S8_SHAPES TILE_SHAPES

#ifdef __AVX512VNNI__
#define S8_BYTES 1
#include "engine/kernels/gemm_s8.h"
#undef S8_BYTES
#endif
#ifdef __AMX_INT8__
#define TILES
#endif
#ifdef TILES
#include "engine/kernels/amx.h"
#endif
#define S8_BYTES 2
#include "engine/kernels/gemm_s8.h"

#include "engine/kernels/attend.h"
#include "engine/kernels/cache8.h"
#include "engine/kernels/lstm.h"
#include "engine/kernels/odds.h"
#include "engine/kernels/gemm_tile.h"
#include "engine/kernels/spectrum.h"

static void narrow_lanes(uint16_t *half, const float *in, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm256_storeu_si256(
            (__m256i_u *)(half + i),
            _mm512_cvtps_ph(_mm512_loadu_ps(in + i),
                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    for (; i < n; i++)
        half[i] = half_from_float(in[i]);
}

#if defined(LEVEL) /* a test's */
#elif defined(TILES)
#define LEVEL      kernels_amx
#define LEVEL_NAME "amx"
#elif defined(__AVX512VNNI__)
#define LEVEL      kernels_avx512vnni
#define LEVEL_NAME "avx512vnni"
#else
#define LEVEL      kernels_avx512
#define LEVEL_NAME "avx512"
#endif

const struct kernels LEVEL = {
    .name = LEVEL_NAME,
    .attend = attend_lanes,
    .attend_store = attend_store_lanes,
    .greatest = greatest_lanes,
#if defined(TILES)
    .gemm_s8 = amx_gemm_s8,
    .quantise_8 = quantise_lanes_1,
#elif defined(__AVX512VNNI__)
    .gemm_s8 = gemm_s8_lanes_1,
    .quantise_8 = quantise_lanes_1,
#else
    .gemm_s8 = gemm_s8_lanes_2,
    .quantise_8 = quantise_lanes_2,
#endif
    .gemm_s8_16 = gemm_s8_lanes_2,
    .quantise_16 = quantise_lanes_2,
    .store_bytes = store_bytes_lanes,
    .gemm_f32 = gemm_f32_lanes,
    .gemm_f16 = gemm_f16_lanes,
    .gelu = gelu_lanes,
    .softmax = softmax_lanes,
    .lstm = lstm_lanes,
    .most = most_lanes,
    .exp_sum = exp_sum_lanes,
    .layer_norm = layer_norm_lanes,
    .widen = widen_lanes,
    .narrow = narrow_lanes,
    .log10 = log10_lanes,
    .spectrum = spectrum_lanes,
    .filter = filter_lanes,
};
