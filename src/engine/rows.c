#include "engine/rows.h"

#include "engine/linear.h"

/* Of the second cache, for all that a block's rows are made of on their way; the weights
 * pass in strips beside it. */
#define BLOCK_BYTES (1400 * 1024)
/* What is alive of a row at once, in bytes by the state: 4 floats and as many codes of
 * what is wide, the residual, the attention's output. */
#define ROW_BYTES 28

int rows_of_block(int state, int rows, int threads)
{
    int most = BLOCK_BYTES / (ROW_BYTES * state) / 16 * 16;
    int fair = (rows / (2 * threads) + 15) / 16 * 16;
    most = most < fair ? most : fair;
    most = most < ROWS_MOST ? most : ROWS_MOST;
    return most > 16 ? most : 16;
}

/* ---- scratch ----------------------------------------------------------------------- */

static size_t floats_of(size_t bytes)
{
    return (bytes + 63) / 64 * 16;
}

static size_t wide_stride(size_t state)
{
    return 4 * state + ROW_PAD;
}

static size_t norm_stride(size_t state)
{
    return state + ROW_PAD;
}

size_t rows_scratch_floats(size_t state)
{
    return ROWS_MOST * (wide_stride(state) + norm_stride(state) + 2) +
           floats_of(ROWS_MOST * linear_code_bytes(4 * (int)state));
}

void rows_begin(struct rows *r, const struct net *n, int thread, int m)
{
    size_t state = n->block_state;
    float *scratch = n->blocks + (size_t)thread * n->block_floats;
    *r = (struct rows){.net = n, .thread = thread, .m = m};
    r->wide_stride = wide_stride(state);
    r->wide = scratch;
    scratch += ROWS_MOST * r->wide_stride;
    r->norm = scratch;
    scratch += ROWS_MOST * norm_stride(state);
    r->code_scales = scratch;
    scratch += ROWS_MOST;
    r->code_sums = (int32_t *)scratch;
    scratch += ROWS_MOST;
    r->codes = (uint8_t *)scratch;
}

/* ---- products ---------------------------------------------------------------------- */

void rows_load(struct rows *r, const struct weight *w, const struct layer_norm *norm,
               const float *x, size_t x_stride)
{
    const struct net *n = r->net;
    size_t cols = (size_t)w->cols;
    if (w->type == WEIGHT_S8) {
        r->code_stride = linear_code_bytes(w->cols);
        for (int i = 0; i < r->m; i++)
            linear_code_row(n, w, norm, x + (size_t)i * x_stride,
                            r->codes + (size_t)i * r->code_stride, &r->code_scales[i],
                            &r->code_sums[i], r->norm);
        return;
    }
    r->x = x;
    r->x_stride = x_stride;
    if (!norm)
        return;
    r->x = r->norm;
    r->x_stride = norm_stride(n->block_state);
    for (int i = 0; i < r->m; i++)
        n->kernels->layer_norm(r->norm + (size_t)i * r->x_stride,
                               x + (size_t)i * x_stride, norm->gain, norm->bias, cols);
}

/* A strip of whole panels, from output `at` on. */
static void multiply_codes(const struct rows *r, const struct weight *w, int at,
                           int count, float *y, size_t y_stride, unsigned flags)
{
    const struct kernels *k = r->net->kernels;
    const struct gemm_s8 g = {
        .x = r->codes,
        .x_scales = r->code_scales,
        .x_sums = r->code_sums,
        .x_stride = r->code_stride,
        .w = weight_panel(w, at / WEIGHT_PANEL),
        .w_stride = weight_panel_bytes(WEIGHT_S8, w->cols),
        .w_scales = w->scales + at,
        .bias = w->bias ? w->bias + at : NULL,
        .y = y,
        .y_stride = y_stride,
        .m = r->m,
        .k = w->cols,
        .n = count,
        .flags = flags,
    };
    (w->fine ? k->gemm_s8_16 : k->gemm_s8)(&g);
}

static void multiply_floats(const struct rows *r, const struct weight *w, int at,
                            int count, float *y, size_t y_stride, unsigned flags)
{
    const struct kernels *k = r->net->kernels;
    struct gemm g = {
        .x = r->x,
        .x_stride = r->x_stride,
        .w = weight_panel(w, at / WEIGHT_PANEL),
        .w_stride = (size_t)w->cols * WEIGHT_PANEL,
        .bias = w->bias ? w->bias + at : NULL,
        .y = y,
        .y_stride = y_stride,
        .m = r->m,
        .k = w->cols,
        .n = count,
        .flags = flags,
    };
    if (w->type == WEIGHT_F16) {
        float *strip = net_strip(r->net, r->thread);
        size_t panels = (size_t)(count + WEIGHT_PANEL - 1) / WEIGHT_PANEL;
        k->widen(strip, g.w, panels * g.w_stride);
        g.w = strip;
    }
    k->gemm_f32(&g);
}

void rows_multiply(const struct rows *r, const struct weight *w, int first, int count,
                   float *y, size_t y_stride, unsigned flags)
{
    bool s8 = w->type == WEIGHT_S8;
    int strip = WEIGHT_PANEL * linear_strip_panels(w);
    for (int at = 0; at < count; at += strip) {
        int part = count - at < strip ? count - at : strip;
        (s8 ? multiply_codes : multiply_floats)(r, w, first + at, part, y + at, y_stride,
                                                flags);
    }
}
