/* The C level: plain loops, what every other level is compared with, and what runs on
 * processors that we have no kernels for. Only the matrix product, where nearly all the
 * time goes, uses the compiler's vectors of 4 floats, which every machine has. */
#include "engine/kernels/cache8.h"
#include "engine/kernels/lstm.h"
#include "engine/kernels/odds.h"
#include "engine/kernels/levels.h"
#include "engine/kernels/spectrum.h"

#include <math.h>

#define ROWS    2 /* taken together: 8 sums of 4 floats */
#define VECTORS (KERNEL_LANES / LANES)

static float gelu_one(float x)
{
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

static void c_gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = gelu_one(x[i]);
}

static void finish(const struct gemm *g, const float *sum, int row, int column, int width)
{
    float *y = g->y + (size_t)row * g->y_stride + column;
    for (int i = 0; i < width; i++) {
        float v = sum[i] + (g->bias ? g->bias[column + i] : 0);
        if (g->flags & GEMM_ADD)
            v += y[i];
        y[i] = g->flags & GEMM_GELU ? gelu_one(v) : v;
    }
}

/* sum[rows][16] += x[rows][n] W, of one panel. Fewer than ROWS rows repeat the last one,
 * whose copies are thrown away: one loop nest for all cases. */
static void add_products(const float *x, size_t stride, int rows, const float *w, int n,
                         float (*sum)[KERNEL_LANES])
{
    const float *row[ROWS];
    vf part[ROWS][VECTORS];
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        int at = r < rows ? r : rows - 1;
        row[r] = x + (size_t)at * stride;
        UNROLL
        for (int i = 0; i < VECTORS; i++)
            part[r][i] = vf_load(sum[at] + i * LANES);
    }
    for (int k = 0; k < n; k++, w += KERNEL_LANES) {
        vf a[ROWS];
        UNROLL
        for (int r = 0; r < ROWS; r++)
            a[r] = vf_all(row[r][k]);
        UNROLL
        for (int i = 0; i < VECTORS; i++) {
            vf v = vf_load(w + i * LANES);
            UNROLL
            for (int r = 0; r < ROWS; r++)
                part[r][i] += a[r] * v;
        }
    }
    UNROLL
    for (int r = ROWS - 1; r >= 0; r--) {
        UNROLL
        for (int i = 0; i < VECTORS; i++)
            vf_store(sum[r < rows ? r : rows - 1] + i * LANES, part[r][i]);
    }
}

static void panel_rows(const struct gemm *g, const float *panel, int column)
{
    int width = g->n - column < KERNEL_LANES ? g->n - column : KERNEL_LANES;
    for (int row = 0; row < g->m; row += ROWS) {
        float sum[ROWS][KERNEL_LANES] = {{0}};
        int rows = g->m - row < ROWS ? g->m - row : ROWS;
        add_products(g->x + (size_t)row * g->x_stride, g->x_stride, rows, panel, g->k,
                     sum);
        for (int r = 0; r < rows; r++)
            finish(g, sum[r], row + r, column, width);
    }
}

static void c_gemm_f32(const struct gemm *g)
{
    const float *w = g->w;
    for (int column = 0; column < g->n; column += KERNEL_LANES, w += g->w_stride)
        panel_rows(g, w, column);
}

/* Without branches, for the compiler's vectoriser: an exponent of 0 is a subnormal, which
 * an addition at 2^-14 puts in order; 31 stands for infinities and what is no number. */
static inline float widen_one(uint16_t half)
{
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13, exponent = bits & 0x0f800000;
    uint32_t normal = bits + (exponent == 0x0f800000 ? 0x70000000 : 0x38000000);
    uint32_t shifted = bits + 0x38800000;
    float value, small;
    memcpy(&value, &normal, 4);
    memcpy(&small, &shifted, 4);
    small -= 0x1p-14f;
    value = exponent ? value : small;
    memcpy(&bits, &value, 4);
    bits |= (uint32_t)(half & 0x8000) << 16;
    memcpy(&value, &bits, 4);
    return value;
}

static void c_widen(float *out, const uint16_t *half, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = widen_one(half[i]);
}

static void c_narrow(uint16_t *half, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        half[i] = half_from_float(in[i]);
}

#define CHUNK 128 /* columns widened at once */
#define GROUP 48  /* rows that share a widened chunk */

static void f16_rows(const struct gemm *g, const uint16_t *panel, int row, int rows,
                     int column)
{
    float wide[CHUNK * KERNEL_LANES], sum[GROUP][KERNEL_LANES] = {{0}};
    int width = g->n - column < KERNEL_LANES ? g->n - column : KERNEL_LANES;
    const float *x = g->x + (size_t)row * g->x_stride;
    for (int k = 0; k < g->k; k += CHUNK) {
        int n = g->k - k < CHUNK ? g->k - k : CHUNK;
        c_widen(wide, panel + (size_t)k * KERNEL_LANES, (size_t)n * KERNEL_LANES);
        for (int r = 0; r < rows; r += ROWS)
            add_products(x + (size_t)r * g->x_stride + k, g->x_stride,
                         rows - r < ROWS ? rows - r : ROWS, wide, n, sum + r);
    }
    for (int r = 0; r < rows; r++)
        finish(g, sum[r], row + r, column, width);
}

static void c_gemm_f16(const struct gemm *g)
{
    const uint16_t *w = g->w;
    for (int column = 0; column < g->n; column += KERNEL_LANES, w += g->w_stride)
        for (int row = 0; row < g->m; row += GROUP)
            f16_rows(g, w, row, g->m - row < GROUP ? g->m - row : GROUP, column);
}

/* Products of one row with the weights of one output, of bytes or 16-bit numbers. */
static int32_t dot_s8(const struct gemm_s8 *g, int row, int column, int bytes)
{
    const char *x = (const char *)g->x + (size_t)row * g->x_stride;
    const uint8_t *w = g->w + (size_t)(column / KERNEL_LANES) * g->w_stride +
                       (size_t)(column % KERNEL_LANES) * 4;
    int32_t sum = -g->x_sums[row];
    for (int k = 0; k < g->k; k++) {
        int number =
            bytes == 1 ? ((const int8_t *)x)[k] : ((const int16_t *)(const void *)x)[k];
        sum += number * w[(size_t)(k / 4) * 64 + (size_t)(k % 4)];
    }
    return sum;
}

static void multiply_s8(const struct gemm_s8 *g, int bytes)
{
    for (int row = 0; row < g->m; row++) {
        float *y = g->y + (size_t)row * g->y_stride;
        for (int i = 0; i < g->n; i++) {
            float v =
                (float)dot_s8(g, row, i, bytes) * (g->w_scales[i] * g->x_scales[row]);
            v += g->bias ? g->bias[i] : 0;
            if (g->flags & GEMM_ADD)
                v += y[i];
            y[i] = g->flags & GEMM_GELU ? gelu_one(v) : v;
        }
    }
}

static void c_gemm_s8(const struct gemm_s8 *g)
{
    multiply_s8(g, 1);
}

static void c_gemm_s8_16(const struct gemm_s8 *g)
{
    multiply_s8(g, 2);
}

static int whole(float x, float inverse, float most)
{
    float v = x == x ? x * inverse : 0; /* what is no number is 0 */
    v = v > -most ? v : -most;
    return (int)rintf(v < most ? v : most);
}

/* The greatest of x; sets the scale, returns its inverse. */
static float find_scale(const float *x, size_t k, float most, float *scale)
{
    float greatest = 0;
    for (size_t i = 0; i < k; i++)
        greatest = fabsf(x[i]) > greatest ? fabsf(x[i]) : greatest;
    greatest = greatest < 3e38f ? greatest : 3e38f;
    *scale = greatest > 1e-30f ? greatest / most : 0;
    return greatest > 1e-30f ? most / greatest : 0;
}

static void c_quantise_8(const float *x, size_t k, float most, void *out, float *scale,
                         int32_t *sum)
{
    int8_t *numbers = out;
    int32_t all = 0;
    float inverse = find_scale(x, k, most, scale);
    memset(out, 0, QUANTISED_BYTES(k));
    for (size_t i = 0; i < k; i++)
        all += numbers[i] = (int8_t)whole(x[i], inverse, most);
    *sum = 128 * all;
}

static void c_quantise_16(const float *x, size_t k, float most, void *out, float *scale,
                          int32_t *sum)
{
    int16_t *numbers = out;
    int32_t all = 0;
    float inverse = find_scale(x, k, most, scale);
    memset(out, 0, QUANTISED_BYTES(k));
    for (size_t i = 0; i < k; i++)
        all += numbers[i] = (int16_t)whole(x[i], inverse, most);
    *sum = 128 * all;
}

static void c_softmax(float *x, size_t n, float scale)
{
    float most = x[0], total = 0;
    for (size_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++)
        total += x[i] = expf((x[i] - most) * scale);
    for (size_t i = 0; i < n; i++)
        x[i] /= total;
}

static void c_layer_norm(float *y, const float *x, const float *gain, const float *bias,
                         size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    float mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n; i++)
        squares += (double)(x[i] - mean) * (x[i] - mean);
    float inverse = 1.0f / sqrtf((float)(squares / (double)n) + 1e-5f);
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * inverse * gain[i] + bias[i];
}

static void c_log10(float *x, size_t n, float floor)
{
    for (size_t i = 0; i < n; i++)
        x[i] = log10f(x[i] > floor ? (x[i] < 3e38f ? x[i] : 3e38f) : floor);
}

const struct kernels kernels_c = {
    .name = "c",
    .gemm_s8 = c_gemm_s8,
    .quantise_8 = c_quantise_8,
    .gemm_s8_16 = c_gemm_s8_16,
    .quantise_16 = c_quantise_16,
    .store_bytes = store_bytes_lanes,
    .gemm_f32 = c_gemm_f32,
    .gemm_f16 = c_gemm_f16,
    .gelu = c_gelu,
    .softmax = c_softmax,
    .lstm = lstm_lanes,
    .most = most_lanes,
    .exp_sum = exp_sum_lanes,
    .layer_norm = c_layer_norm,
    .widen = c_widen,
    .narrow = c_narrow,
    .log10 = c_log10,
    .spectrum = spectrum_lanes,
    .filter = filter_lanes,
};
