/* AVX2 with FMA and F16C: 16 registers of 8 floats. Compiled twice: as it is, and with
 * AVX-VNNI (8-bit products). */
#include "engine/kernels/levels.h"

#include <immintrin.h>

#include "engine/kernels/simd.h"

#define TILE_ROWS      6
#define TILE_SHAPES(X) X(1, 4) X(2, 2) X(3, 2) X(4, 1) X(5, 1) X(6, 1)

SIMD vf load_half(const uint16_t *p)
{
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p));
}

#ifdef __AVXVNNI__
#define S8_BYTES  1
#define S8_ROWS   TILE_ROWS
#define S8_SHAPES TILE_SHAPES
#include "engine/kernels/gemm_s8.h"
#undef S8_BYTES
#undef S8_ROWS
#undef S8_SHAPES
#endif
#define S8_BYTES     2
#define S8_ROWS      4
#define S8_SHAPES(X) X(1, 2) X(2, 1) X(3, 1) X(4, 1)
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
        _mm_storeu_si128((__m128i_u *)(half + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(in + i),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    for (; i < n; i++)
        half[i] = half_from_float(in[i]);
}

#ifdef __AVXVNNI__
#define LEVEL      kernels_avxvnni
#define LEVEL_NAME "avxvnni"
#else
#define LEVEL      kernels_avx2
#define LEVEL_NAME "avx2"
#endif

const struct kernels LEVEL = {
    .name = LEVEL_NAME,
    .attend = attend_lanes,
    .attend_store = attend_store_lanes,
    .greatest = greatest_lanes,
#ifdef __AVXVNNI__
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
