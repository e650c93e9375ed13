/* Products in 8 bits with AMX: a tile of 16 rows of 64 inputs times one of 64 inputs of
 * 16 outputs, whose layout is that of the panels, at once (Intel's "Intrinsics Guide" and
 * manual, volume 1, chapter 18). Two tiles of rows and two panels are taken together: 4
 * tiles of sums, 2 of inputs, 2 of weights are all there are.
 *
 * NOT TESTED ON HARDWARE: the tests run this file with the tile instructions emulated
 * (tests/kernels/amx_emulated.c), and no processor that has them has run it yet. Where
 * one does, kernels.c lets it do one product beside VNNI first, and without equal results
 * there is no such level.
 *
 * Included after gemm_s8.h for inputs of 8 bits, whose sums come to the same numbers: few
 * rows go there. */
#ifndef ENGINE_KERNELS_AMX_H
#define ENGINE_KERNELS_AMX_H

#include <stdbool.h>

#define AMX_SIDE  16   /* rows, and outputs, of a tile of sums */
#define AMX_INPUT 64   /* inputs of a tile */
#define AMX_TILE  1024 /* bytes */

struct amx_shape {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* What LDTILECFG reads; the intrinsic does not tell gcc how much. */
static const struct amx_shape amx_shape = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* sum[R][P] += 64 inputs of R tiles of rows times those of P panels. Tiles 0 … 3 hold the
 * sums, 4 and 5 the inputs, 6 and 7 the weights. */
SIMD void amx_add(const char *x, size_t x_stride, const uint8_t *w, size_t w_stride,
                  const int R, const int P)
{
    _tile_loadd(4, x, x_stride);
    _tile_loadd(6, w, AMX_INPUT);
    _tile_dpbsud(0, 4, 6);
    if (P == 2) {
        _tile_loadd(7, w + w_stride, AMX_INPUT);
        _tile_dpbsud(1, 4, 7);
    }
    if (R == 2) {
        _tile_loadd(5, x + AMX_SIDE * x_stride, x_stride);
        _tile_dpbsud(2, 5, 6);
        if (P == 2)
            _tile_dpbsud(3, 5, 7);
    }
}

SIMD void amx_sums(const struct gemm_s8 *g, int row, int column, const int R, const int P,
                   int32_t sum[2][2][AMX_SIDE][KERNEL_LANES])
{
    const char *x = (const char *)g->x + (size_t)row * g->x_stride;
    const uint8_t *w = g->w + (size_t)(column / KERNEL_LANES) * g->w_stride;
    size_t whole = (size_t)g->k / AMX_INPUT, rest = (size_t)g->k % AMX_INPUT;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t i = 0; i < whole; i++)
        amx_add(x + i * AMX_INPUT, g->x_stride, w + i * AMX_TILE, g->w_stride, R, P);
    if (rest) {
        /* Rows have zeros where they end; what is behind the weights is not ours. */
        _Alignas(64) uint8_t last[2][AMX_TILE] = {{0}};
        for (int p = 0; p < P; p++)
            memcpy(last[p], w + (size_t)p * g->w_stride + whole * AMX_TILE,
                   (rest + 3) / 4 * AMX_INPUT);
        __asm__ volatile("" ::: "memory"); /* or gcc believes that nobody reads it */
        amx_add(x + whole * AMX_INPUT, g->x_stride, last[0], AMX_TILE, R, P);
    }
    _tile_stored(0, sum[0][0], AMX_INPUT);
    _tile_stored(1, sum[0][1], AMX_INPUT);
    _tile_stored(2, sum[1][0], AMX_INPUT);
    _tile_stored(3, sum[1][1], AMX_INPUT);
}

/* Rows from `row` on and P panels; those before `first` are done already. */
SIMD void amx_block(const struct gemm_s8 *g, int row, int first, int column, const int R,
                    const int P)
{
    _Alignas(64) int32_t sum[2][2][AMX_SIDE][KERNEL_LANES];
    amx_sums(g, row, column, R, P, sum);
    for (int r = first - row; r < R * AMX_SIDE; r++)
        for (int p = 0; p < P; p++) {
            int at = column + p * KERNEL_LANES;
            vi v;
            memcpy(&v, sum[r / AMX_SIDE][p][r % AMX_SIDE], sizeof v);
            vf y = __builtin_convertvector(v - g->x_sums[row + r], vf);
            if (g->n - at >= KERNEL_LANES)
                s8_finish_1(g, &y, g->y + (size_t)(row + r) * g->y_stride + at, row + r,
                            at, 1, 1);
            else
                s8_finish_end_1(g, &y, row + r, at, 1);
        }
}

SIMD void amx_rows(const struct gemm_s8 *g, int row, int first, const int R)
{
    int column = 0;
    for (; g->n - column > KERNEL_LANES; column += 2 * KERNEL_LANES)
        amx_block(g, row, first, column, R, 2);
    if (column < g->n)
        amx_block(g, row, first, column, R, 1);
}

/* A last tile of rows that would not be full begins earlier, and what of it is done
 * already is left alone. */
static void amx_gemm_s8(const struct gemm_s8 *g)
{
    if (g->m < AMX_SIDE) {
        gemm_s8_lanes_1(g);
        return;
    }
    _tile_loadconfig(&amx_shape);
    for (int first = 0; first < g->m;) {
        bool two = g->m - first > AMX_SIDE && g->m >= 2 * AMX_SIDE;
        int rows = two ? 2 * AMX_SIDE : AMX_SIDE;
        int row = g->m - first < rows ? g->m - rows : first;
        if (two)
            amx_rows(g, row, first, 2);
        else
            amx_rows(g, row, first, 1);
        first = row + rows;
    }
    _tile_release();
}

#endif
