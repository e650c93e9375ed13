/* 64-bit Arm: 32 registers of 4 floats. Compiled three times: as it is, with dot products
 * of bytes, and with products of matrices of bytes (neon.h). Wider vectors (SVE) are not
 * used. */
#include "engine/kernels/levels.h"

#include "engine/kernels/neon.h"

#include <stdbool.h>

#define TILE_ROWS      6
#define TILE_SHAPES(X) X(1, 4) X(2, 2) X(3, 2) X(4, 1) X(5, 1) X(6, 1)

#if defined(__ARM_FEATURE_DOTPROD)
#define S8_BYTES     1
#define S8_ROWS      6
#define S8_SHAPES(X) X(1, 2) X(2, 2) X(3, 1) X(4, 1) X(5, 1) X(6, 1)
#include "engine/kernels/gemm_s8.h"
#undef S8_BYTES
#undef S8_ROWS
#undef S8_SHAPES
/* Two sums for each. */
#define S8_BYTES     2
#define S8_ROWS      3
#define S8_SHAPES(X) X(1, 2) X(2, 1) X(3, 1)
#include "engine/kernels/gemm_s8.h"
#else
#define S8_BYTES     1
#define S8_ROWS      3
#define S8_SHAPES(X) X(1, 2) X(2, 1) X(3, 1)
#include "engine/kernels/gemm_s8.h"
#undef S8_BYTES
#undef S8_ROWS
#undef S8_SHAPES
#define S8_BYTES     2
#define S8_ROWS      2
#define S8_SHAPES(X) X(1, 1) X(2, 1)
#include "engine/kernels/gemm_s8.h"
#endif

#include "engine/kernels/attend_float.h"
#include "engine/kernels/cache8.h"
#include "engine/kernels/gemm_tile.h"
#include "engine/kernels/lstm.h"
#include "engine/kernels/odds.h"
#include "engine/kernels/spectrum.h"

static void narrow_lanes(uint16_t *half, const float *in, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store_half(half + i, vf_load(in + i));
    for (; i < n; i++)
        half[i] = half_from_float(in[i]);
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
#define LEVEL      kernels_i8mm
#define LEVEL_NAME "i8mm"
#elif defined(__ARM_FEATURE_DOTPROD)
#define LEVEL      kernels_dotprod
#define LEVEL_NAME "dotprod"
#else
#define LEVEL      kernels_neon
#define LEVEL_NAME "neon"
#endif

const struct kernels LEVEL = {
    .name = LEVEL_NAME,
    .attend = attend_float_lanes,
    .attend_store = attend_store_float_lanes,
    .greatest = greatest_lanes,
    .gemm_s8 = gemm_s8_lanes_1,
    .quantise_8 = quantise_lanes_1,
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
