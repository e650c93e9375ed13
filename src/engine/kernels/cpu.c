/* The C level: plain loops, what every other level is compared with, and what runs on
 * processors that we have no kernels for. The matrix kernel takes four rows at a time and
 * leaves the 16 outputs of a panel to the compiler's vectoriser. */
#include "engine/kernels/levels.h"
#include "engine/kernels/spectrum.h"

#include <math.h>

#define ROWS 4

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

static void block(const struct gemm *g, const float *panel, int row, int rows, int column)
{
    float sum[ROWS][KERNEL_LANES] = {{0}};
    const float *x[ROWS];
    for (int r = 0; r < ROWS; r++) /* missing rows repeat the last, unused */
        x[r] = g->x + (size_t)(row + (r < rows ? r : rows - 1)) * g->x_stride;
    for (int k = 0; k < g->k; k++) {
        const float *w = panel + (size_t)k * KERNEL_LANES;
        for (int r = 0; r < ROWS; r++)
            for (int i = 0; i < KERNEL_LANES; i++)
                sum[r][i] += x[r][k] * w[i];
    }
    int width = g->n - column < KERNEL_LANES ? g->n - column : KERNEL_LANES;
    for (int r = 0; r < rows; r++)
        finish(g, sum[r], row + r, column, width);
}

static void panel_rows(const struct gemm *g, const float *panel, int column)
{
    for (int row = 0; row < g->m; row += ROWS)
        block(g, panel, row, g->m - row < ROWS ? g->m - row : ROWS, column);
}

static void c_gemm_f32(const struct gemm *g)
{
    const float *w = g->w;
    for (int column = 0; column < g->n; column += KERNEL_LANES, w += g->w_stride)
        panel_rows(g, w, column);
}

static void c_widen(float *out, const uint16_t *half, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half_to_float(half[i]);
}

static void c_narrow(uint16_t *half, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        half[i] = half_from_float(in[i]);
}

#define CHUNK 256 /* columns widened at once */

/* Widens a panel chunk by chunk; the sum so far waits in y. Bias, residual and GELU come
 * with the last one, so y's old content is kept apart while it is the residual. */
static void f16_panel(const struct gemm *g, const uint16_t *panel, int column)
{
    float wide[CHUNK * KERNEL_LANES];
    int width = g->n - column < KERNEL_LANES ? g->n - column : KERNEL_LANES;
    for (int row = 0; row < g->m; row += ROWS) {
        int rows = g->m - row < ROWS ? g->m - row : ROWS;
        float sum[ROWS][KERNEL_LANES] = {{0}};
        for (int k = 0; k < g->k; k += CHUNK) {
            int n = g->k - k < CHUNK ? g->k - k : CHUNK;
            c_widen(wide, panel + (size_t)k * KERNEL_LANES, (size_t)n * KERNEL_LANES);
            for (int r = 0; r < rows; r++) {
                const float *x = g->x + (size_t)(row + r) * g->x_stride + k;
                for (int j = 0; j < n; j++)
                    for (int i = 0; i < KERNEL_LANES; i++)
                        sum[r][i] += x[j] * wide[j * KERNEL_LANES + i];
            }
        }
        for (int r = 0; r < rows; r++)
            finish(g, sum[r], row + r, column, width);
    }
}

static void c_gemm_f16(const struct gemm *g)
{
    const uint16_t *w = g->w;
    for (int column = 0; column < g->n; column += KERNEL_LANES, w += g->w_stride)
        f16_panel(g, w, column);
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
    .gemm_f32 = c_gemm_f32,
    .gemm_f16 = c_gemm_f16,
    .gelu = c_gelu,
    .softmax = c_softmax,
    .layer_norm = c_layer_norm,
    .widen = c_widen,
    .narrow = c_narrow,
    .log10 = c_log10,
    .spectrum = spectrum_lanes,
    .filter = filter_lanes,
};
