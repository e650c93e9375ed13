/* The matrix kernel over 8-bit weights of the vector levels: a tile of R rows times P
 * panels is held in registers while k runs, 4 columns at a time. The file that includes
 * this, once for each S8_BYTES, gives, before it,
 *
 *   S8_ROWS       rows of the largest tile
 *   S8_SHAPES(X)  X(R, P) for R = 1 … S8_ROWS
 *   S8_BYTES      1: inputs of 8 bits, of which VNNI adds 4 products at once;
 *                 2: inputs of 16 bits, whose products with weights are added in pairs
 *
 * Neither can overflow: see quantised_most. */
#include "engine/kernels/rowops.h"

#undef S8_VECTORS
#undef S8_JOIN
#undef S8_GLUE
#undef S8
#define S8_GLUE(name, bytes) name##_##bytes
#define S8_JOIN(name, bytes) S8_GLUE(name, bytes)
#define S8(name)             S8_JOIN(name, S8_BYTES)

#define S8_VECTORS           (KERNEL_LANES / LANES) /* of a panel */

#if defined(__AARCH64EL__)
#include "engine/kernels/gemm_s8_neon.h"
#else
typedef vi S8(s8_sum);

SIMD S8(s8_sum) S8(s8_begin)(int32_t x_sum)
{
    return (vi){0} - x_sum;
}

/* 4 columns of a row: as bytes, or as two words of 16-bit numbers. */
typedef struct {
    vi a, b;
} S8(s8_inputs);

SIMD S8(s8_inputs) S8(s8_row)(const char *x, size_t k4)
{
#if S8_BYTES == 1
    return (S8(s8_inputs)){.a = (vi){0} + load_word(x + 4 * k4)};
#else
    return (S8(s8_inputs)){(vi){0} + load_word(x + 8 * k4),
                           (vi){0} + load_word(x + 8 * k4 + 4)};
#endif
}

#if S8_BYTES == 1
typedef vi S8(s8_weights);

SIMD S8(s8_weights) S8(s8_load)(const uint8_t *w)
{
    vi v;
    memcpy(&v, w, sizeof v);
    return v;
}

SIMD vi S8(s8_add)(vi sum, S8(s8_weights) w, S8(s8_inputs) x)
{
#if LANES == 16
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x.a);
#else
    return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)w, (__m256i)x.a);
#endif
}
#else
/* Bytes 0 and 2 of each 4, and bytes 1 and 3. */
typedef struct {
    vi even, odd;
} S8(s8_weights);

SIMD S8(s8_weights) S8(s8_load)(const uint8_t *w)
{
    vi v;
    memcpy(&v, w, sizeof v);
    return (S8(s8_weights)){v & 0x00ff00ff, (vi)((vu)v >> 8) & 0x00ff00ff};
}

SIMD vi S8(s8_add)(vi sum, S8(s8_weights) w, S8(s8_inputs) x)
{
    return vi_add_pairs(vi_add_pairs(sum, w.even, x.a), w.odd, x.b);
}
#endif

SIMD vi S8(s8_total)(vi sum)
{
    return sum;
}

SIMD void S8(s8_store)(char *out, vi numbers)
{
#if S8_BYTES == 1 && LANES == 16
    _mm_storeu_si128((__m128i_u *)out, _mm512_cvtepi32_epi8((__m512i)numbers));
#else
#if S8_BYTES == 1
    int8_t narrow[LANES];
#else
    int16_t narrow[LANES];
#endif
    for (int i = 0; i < LANES; i++)
        narrow[i] = (__typeof__(narrow[0]))numbers[i];
#if S8_BYTES == 2
    /* The pairs that meet bytes 0 and 2, then those that meet bytes 1 and 3. */
    for (int i = 0; i < LANES; i += 4) {
        int16_t one = narrow[i + 1];
        narrow[i + 1] = narrow[i + 2];
        narrow[i + 2] = one;
    }
#endif
    memcpy(out, narrow, sizeof narrow);
#endif
}
#endif

SIMD void S8(s8_finish)(const struct gemm_s8 *g, vf *sum, float *y, int row, int column,
                        const int R, const int P)
{
    const int n = P * S8_VECTORS;
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int p = 0; p < n; p++) {
            float *out = y + (size_t)r * g->y_stride + p * LANES;
            vf v = sum[r * n + p] *
                   (vf_load(g->w_scales + column + p * LANES) * g->x_scales[row + r]);
            if (g->bias)
                v += vf_load(g->bias + column + p * LANES);
            if (g->flags & GEMM_ADD)
                v += vf_load(out);
            if (g->flags & GEMM_GELU)
                v = vf_gelu(v);
            vf_store(out, v);
        }
    }
}

SIMD void S8(s8_sums)(const struct gemm_s8 *g, int row, int column, vi *sum, const int R,
                      const int P)
{
#if defined(__ARM_FEATURE_MATMUL_INT8) && S8_BYTES == 1
    if (R >= 4 && R % 2 == 0 && P == 1) {
        S8(s8_pair_sums)(g, row, column, sum, R);
        return;
    }
#endif
    const int n = P * S8_VECTORS;
    const char *x = (const char *)g->x + (size_t)row * g->x_stride;
    const uint8_t *w = g->w + (size_t)(column / KERNEL_LANES) * g->w_stride;
    size_t end = ((size_t)g->k + 3) / 4;
    S8(s8_sum) part[24];
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int p = 0; p < n; p++)
            part[r * n + p] = S8(s8_begin)(g->x_sums[row + r]);
    }
    for (size_t k4 = 0; k4 < end; k4++) {
        S8(s8_weights) v[8];
        if (P >= 4) { /* few rows read weights that no cache holds yet */
            UNROLL
            for (int p = P; p < 2 * P; p++)
                __builtin_prefetch(w + (size_t)p * g->w_stride + k4 * 64, 0, 2);
        }
        UNROLL
        for (int p = 0; p < n; p++)
            v[p] = S8(s8_load)(w + (size_t)(p / S8_VECTORS) * g->w_stride + k4 * 64 +
                               (size_t)(p % S8_VECTORS) * LANES * 4);
        UNROLL
        for (int r = 0; r < R; r++) {
            S8(s8_inputs) a = S8(s8_row)(x + (size_t)r * g->x_stride, k4);
            UNROLL
            for (int p = 0; p < n; p++)
                part[r * n + p] = S8(s8_add)(part[r * n + p], v[p], a);
        }
    }
    UNROLL
    for (int i = 0; i < R * n; i++)
        sum[i] = S8(s8_total)(part[i]);
}

SIMD void S8(s8_tile)(const struct gemm_s8 *g, int row, int column, const int R,
                      const int P)
{
    const int n = P * S8_VECTORS;
    vi sum[24];
    vf y[24];
    S8(s8_sums)(g, row, column, sum, R, P);
    UNROLL
    for (int i = 0; i < R * n; i++)
        y[i] = __builtin_convertvector(sum[i], vf);
    S8(s8_finish)(g, y, g->y + (size_t)row * g->y_stride + column, row, column, R, P);
}

/* The last panel when n ends inside it: a whole one beside, of which `width` columns are
 * copied. */
SIMD void S8(s8_finish_end)(const struct gemm_s8 *g, vf *sum, int row, int column,
                            const int R)
{
    size_t width = (size_t)(g->n - column);
    float out[S8_ROWS * KERNEL_LANES] = {0}, bias[KERNEL_LANES] = {0};
    float *y = g->y + (size_t)row * g->y_stride + column;
    struct gemm_s8 part = *g;
    if (g->bias)
        memcpy(bias, g->bias + column, width * sizeof *bias);
    for (int r = 0; r < R && (g->flags & GEMM_ADD); r++)
        memcpy(out + r * KERNEL_LANES, y + (size_t)r * g->y_stride, width * sizeof *out);
    part.y_stride = KERNEL_LANES;
    part.bias = bias;
    part.w_scales = g->w_scales + column;
    S8(s8_finish)(&part, sum, out, row, 0, R, 1);
    for (int r = 0; r < R; r++)
        memcpy(y + (size_t)r * g->y_stride, out + r * KERNEL_LANES, width * sizeof *out);
}

SIMD void S8(s8_tile_end)(const struct gemm_s8 *g, int row, int column, const int R)
{
    vi sum[24];
    vf v[24];
    S8(s8_sums)(g, row, column, sum, R, 1);
    UNROLL
    for (int i = 0; i < R * S8_VECTORS; i++)
        v[i] = __builtin_convertvector(sum[i], vf);
    S8(s8_finish_end)(g, v, row, column, R);
}

SIMD void S8(s8_tile_row)(const struct gemm_s8 *g, int row, const int R, const int P)
{
    int column = 0;
    for (; g->n - column >= P * KERNEL_LANES; column += P * KERNEL_LANES)
        S8(s8_tile)(g, row, column, R, P);
    if (P == 8 && g->n - column >= 4 * KERNEL_LANES) { /* values of a head */
        S8(s8_tile)(g, row, column, R, 4);
        column += 4 * KERNEL_LANES;
    }
    for (; g->n - column >= KERNEL_LANES; column += KERNEL_LANES)
        S8(s8_tile)(g, row, column, R, 1);
    if (column < g->n)
        S8(s8_tile_end)(g, row, column, R);
}

#undef S8_FUNCTION
#undef S8_NAME
#define S8_FUNCTION(R, P)                                                                \
    static void S8(s8_rows_##R)(const struct gemm_s8 *g, int row)                        \
    {                                                                                    \
        S8(s8_tile_row)(g, row, R, P);                                                   \
    }
S8_SHAPES(S8_FUNCTION)

#define S8_NAME(R, P) S8(s8_rows_##R),
static void (*const S8(s8_tiles)[S8_ROWS])(const struct gemm_s8 *g,
                                           int row) = {S8_SHAPES(S8_NAME)};

/* The rows are shared out evenly: 13 are 7 and 6, not 12 and 1. */
static void S8(gemm_s8_lanes)(const struct gemm_s8 *g)
{
    int blocks = (g->m + S8_ROWS - 1) / S8_ROWS;
    for (int row = 0; blocks > 0; blocks--) {
        int rows = (g->m - row + blocks - 1) / blocks;
        S8(s8_tiles)[rows - 1](g, row);
        row += rows;
    }
}

/* ---- rows ---------------------------------------------------------------------------
 */

static void S8(quantise_lanes)(const float *x, size_t k, float greatest_number, void *out,
                               float *scale, int32_t *sum)
{
    const vf none = vf_all(0), largest = vf_all(3e38f);
    vf most = none;
    vi total = {0};
    size_t i = 0;
    for (; i + LANES <= k; i += LANES) {
        vf v = vf_load(x + i);
        most = vf_max(vf_max(v, none - v), most);
    }
    if (i < k) {
        vf v = vf_load_part(x + i, k - i, 0);
        most = vf_max(vf_max(v, none - v), most);
    }
    float greatest = vf_greatest(vf_min(most, largest));
    float inverse = greatest > 1e-30f ? greatest_number / greatest : 0;
    *scale = greatest > 1e-30f ? greatest / greatest_number : 0;
    for (i = 0; i < k; i += LANES) {
        vf v = i + LANES <= k ? vf_load(x + i) : vf_load_part(x + i, k - i, 0);
        v = vf_select(v == v, v, none) * inverse;
        vi n = vf_round(
            vf_min(vf_max(v, vf_all(-greatest_number)), vf_all(greatest_number)));
        total += n;
        S8(s8_store)((char *)out + i * S8_BYTES, n);
    }
    size_t used = i * S8_BYTES, end = QUANTISED_BYTES(k);
    if (used < end)
        memset((char *)out + used, 0, end - used);
    *sum = 128 * vi_sum(total);
}
