/* The matrix kernel of the vector levels: a tile of R rows times P panels is held in
 * registers while k runs; R and P are constants, so that everything unrolls. The file
 * that includes this gives, before it,
 *
 *   TILE_ROWS       rows of the largest tile
 *   TILE_SHAPES(X)  X(R, P) for R = 1 … TILE_ROWS: P panels are taken together when there
 *                   are R rows. Few rows take many panels: a register that is summed into
 *                   is ready again only after 4 cycles, so 8 or more sums must be under
 * way. load_half(p)    LANES halves as floats
 *
 * Each output is one chain of fused multiply-adds with k ascending: it does not depend on
 * the tile that it falls into. */
#ifndef ENGINE_KERNELS_GEMM_TILE_H
#define ENGINE_KERNELS_GEMM_TILE_H

#include "engine/kernels/rowops.h"

#include <stdbool.h>

#define VECTORS (KERNEL_LANES / LANES) /* of a panel */

SIMD vf load_weight(const void *w, size_t at, bool half)
{
    return half ? load_half((const uint16_t *)w + at) : vf_load((const float *)w + at);
}

#if defined(__x86_64__)
/* A number by which vectors are multiplied. */
SIMD vf row_value(const float *x)
{
    return vf_all(*x);
}

/* c + a b, with a a row_value. */
SIMD vf multiply_add(vf a, vf b, vf c)
{
#if LANES == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#endif
}
#endif

/* Few rows read weights that no cache holds yet, and panels are too short for the
 * processor to see where the reading goes: ask for the same place in the next P panels,
 * a line at a time. At the end of the matrix it asks for what is never used. */
SIMD void fetch_ahead(const struct gemm *g, const void *w, size_t k, const int R,
                      const int P, const bool half)
{
    const size_t size = half ? 2 : 4;
    if (half ? k % 2 != 0 : R == TILE_ROWS)
        return;
    UNROLL
    for (int p = P; p < 2 * P; p++)
        __builtin_prefetch(
            (const char *)w + ((size_t)p * g->w_stride + k * KERNEL_LANES) * size, 0, 2);
}

SIMD void tile(const struct gemm *g, const float *x, const void *w, const float *bias,
               float *y, const int R, const int P, const bool half)
{
    const int n = P * VECTORS;
    vf sum[24];
    UNROLL
    for (int i = 0; i < R * n; i++)
        sum[i] = vf_all(0);
    for (size_t k = 0; k < (size_t)g->k; k++) {
        fetch_ahead(g, w, k, R, P, half);
        if (n <= R) {
            vf v[8];
            UNROLL
            for (int p = 0; p < n; p++)
                v[p] = load_weight(w,
                                   (size_t)(p / VECTORS) * g->w_stride +
                                       k * KERNEL_LANES + (size_t)(p % VECTORS) * LANES,
                                   half);
            UNROLL
            for (int r = 0; r < R; r++) {
                vf a = row_value(&x[(size_t)r * g->x_stride + k]);
                UNROLL
                for (int p = 0; p < n; p++)
                    sum[r * n + p] = multiply_add(a, v[p], sum[r * n + p]);
            }
        } else {
            vf a[8];
            UNROLL
            for (int r = 0; r < R; r++)
                a[r] = row_value(&x[(size_t)r * g->x_stride + k]);
            UNROLL
            for (int p = 0; p < n; p++) {
                vf v = load_weight(w,
                                   (size_t)(p / VECTORS) * g->w_stride +
                                       k * KERNEL_LANES + (size_t)(p % VECTORS) * LANES,
                                   half);
                UNROLL
                for (int r = 0; r < R; r++)
                    sum[r * n + p] = multiply_add(a[r], v, sum[r * n + p]);
            }
        }
    }
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int p = 0; p < n; p++) {
            float *out = y + (size_t)r * g->y_stride + p * LANES;
            vf v = sum[r * n + p];
            if (bias)
                v += vf_load(bias + p * LANES);
            if (g->flags & GEMM_ADD)
                v += vf_load(out);
            vf_store(out, v);
        }
    }
}

/* The last panel when n ends inside it: a whole one beside, of which `width` columns are
 * copied. */
SIMD void tile_end(const struct gemm *g, const float *x, const void *w, int column,
                   float *y, const int R, const bool half)
{
    size_t width = (size_t)(g->n - column);
    float out[TILE_ROWS * KERNEL_LANES] = {0}, bias[KERNEL_LANES] = {0};
    struct gemm part = *g;
    part.y_stride = KERNEL_LANES;
    if (g->bias)
        memcpy(bias, g->bias + column, width * sizeof *bias);
    for (int r = 0; r < R && (g->flags & GEMM_ADD); r++)
        memcpy(out + r * KERNEL_LANES, y + (size_t)r * g->y_stride, width * sizeof *out);
    tile(&part, x, w, bias, out, R, 1, half);
    for (int r = 0; r < R; r++)
        memcpy(y + (size_t)r * g->y_stride, out + r * KERNEL_LANES, width * sizeof *out);
}

SIMD void tile_row(const struct gemm *g, int row, const int R, const int P,
                   const bool half)
{
    const float *x = g->x + (size_t)row * g->x_stride;
    float *y = g->y + (size_t)row * g->y_stride;
    const char *w = g->w;
    const size_t step = g->w_stride * (half ? 2 : 4);
    int column = 0;
    for (; g->n - column >= P * KERNEL_LANES; column += P * KERNEL_LANES, w += P * step)
        tile(g, x, w, g->bias ? g->bias + column : NULL, y + column, R, P, half);
    for (; g->n - column >= KERNEL_LANES; column += KERNEL_LANES, w += step)
        tile(g, x, w, g->bias ? g->bias + column : NULL, y + column, R, 1, half);
    if (column < g->n)
        tile_end(g, x, w, column, y + column, R, half);
    for (int r = 0; r < R && (g->flags & GEMM_GELU); r++)
        gelu_lanes(y + (size_t)r * g->y_stride, (size_t)g->n);
}

#define TILE_FUNCTIONS(R, P)                                                             \
    static void tile_f32_##R(const struct gemm *g, int row)                              \
    {                                                                                    \
        tile_row(g, row, R, P, false);                                                   \
    }                                                                                    \
    static void tile_f16_##R(const struct gemm *g, int row)                              \
    {                                                                                    \
        tile_row(g, row, R, P, true);                                                    \
    }
TILE_SHAPES(TILE_FUNCTIONS)

typedef void tile_fn(const struct gemm *g, int row);
#define TILE_F32(R, P) tile_f32_##R,
#define TILE_F16(R, P) tile_f16_##R,
static tile_fn *const tiles_f32[TILE_ROWS] = {TILE_SHAPES(TILE_F32)};
static tile_fn *const tiles_f16[TILE_ROWS] = {TILE_SHAPES(TILE_F16)};

/* The rows are shared out evenly: 13 are 7 and 6, not 12 and 1. */
static void gemm_lanes(const struct gemm *g, tile_fn *const *tiles)
{
    int blocks = (g->m + TILE_ROWS - 1) / TILE_ROWS;
    for (int row = 0; blocks > 0; blocks--) {
        int rows = (g->m - row + blocks - 1) / blocks;
        tiles[rows - 1](g, row);
        row += rows;
    }
}

static void gemm_f32_lanes(const struct gemm *g)
{
    gemm_lanes(g, tiles_f32);
}

static void gemm_f16_lanes(const struct gemm *g)
{
    gemm_lanes(g, tiles_f16);
}

static void widen_lanes(float *out, const uint16_t *half, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(out + i, load_half(half + i));
    for (; i < n; i++)
        out[i] = half_to_float(half[i]);
}

#endif
