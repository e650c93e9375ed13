/* How a matrix product is shared out.
 *
 * In 8 bits the rows are made whole numbers first, each with a scale of its own.
 *
 * Many rows (the encoder, a long prompt): tasks are a strip of panels times a block of
 * rows. The strip stays in the second cache while the rows pass; halves are widened to
 * floats once per strip. Few rows (a decoder step) are limited by reading the weights:
 * each thread reads its panels once, for all rows, widening on the way. */
#include "engine/linear.h"

#define WIDEN_ROWS    48           /* from here on a strip is widened first */
#define STRIP_BYTES   (192 * 1024) /* a good part of the second cache */
#define STRIP_FLOATS  (STRIP_BYTES / 4)
#define BLOCK_ROWS    252 /* 21 tiles of 12 rows, 42 of 6 */
#define QUANTISE_ROWS 16
#define TASKS         4 /* per thread, so that a slow one does not hold up all */

struct linear_job {
    struct net *net; /* borrowed */
    const struct weight *w;
    struct gemm g;
    struct gemm_s8 s8;  /* instead, for weights of 8 bits */
    size_t panel_bytes; /* as the kernels read them */
    int strip;          /* panels of a task */
    int block;          /* rows of a task */
    int blocks;
    bool widen;
};

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

static size_t panel_bytes(const struct weight *w)
{
    return weight_panel_bytes(w->type == WEIGHT_S8 ? WEIGHT_S8 : WEIGHT_F32, w->cols);
}

int linear_strip_panels(const struct weight *w)
{
    int n = (int)(STRIP_BYTES / panel_bytes(w)) / 2 * 2;
    return n < 2 ? 2 : n;
}

size_t linear_strip_floats(int cols)
{
    size_t two = 2 * (size_t)cols * WEIGHT_PANEL;
    return two > STRIP_FLOATS ? two : STRIP_FLOATS;
}

/* A part of the work: columns from a panel on, rows from `row` on. */
struct part {
    int panel, column, row, n, m;
};

static struct part part_of(const struct linear_job *job, int task)
{
    struct part p = {
        .panel = task / job->blocks * job->strip,
        .row = task % job->blocks * job->block,
    };
    p.column = p.panel * WEIGHT_PANEL;
    p.n = job->g.n - p.column;
    p.m = job->g.m - p.row;
    p.n = p.n < job->strip * WEIGHT_PANEL ? p.n : job->strip * WEIGHT_PANEL;
    p.m = p.m < job->block ? p.m : job->block;
    return p;
}

static void s8_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct linear_job *job = arg;
    const struct part p = part_of(job, task);
    struct gemm_s8 g = job->s8;
    g.n = p.n;
    g.m = p.m;
    g.x = (const char *)g.x + (size_t)p.row * g.x_stride;
    g.x_scales += p.row;
    g.x_sums += p.row;
    g.y += (size_t)p.row * g.y_stride + p.column;
    g.bias = g.bias ? g.bias + p.column : NULL;
    g.w_scales += p.column;
    g.w = weight_panel(job->w, p.panel);
    const struct kernels *k = job->net->kernels;
    (job->w->fine ? k->gemm_s8_16 : k->gemm_s8)(&g);
}

static void linear_task(void *arg, int task, int thread)
{
    const struct linear_job *job = arg;
    const struct kernels *k = job->net->kernels;
    const struct part p = part_of(job, task);
    struct gemm g = job->g;
    g.n = p.n;
    g.m = p.m;
    g.x += (size_t)p.row * g.x_stride;
    g.y += (size_t)p.row * g.y_stride + p.column;
    g.bias = g.bias ? g.bias + p.column : NULL;
    g.w = weight_panel(job->w, p.panel);
    if (job->w->type == WEIGHT_F32) {
        k->gemm_f32(&g);
    } else if (!job->widen) {
        k->gemm_f16(&g);
    } else {
        float *strip = net_strip(job->net, thread);
        k->widen(strip, g.w, (size_t)divide_up(g.n, WEIGHT_PANEL) * g.w_stride);
        g.w = strip;
        k->gemm_f32(&g);
    }
}

/* Few rows: panels in bunches of 8, which is what the kernels take together; no more than
 * the second cache holds, for rows that take two rounds. */
static void share_panels(struct linear_job *job, int panels, int threads)
{
    int bunch = divide_up(divide_up(panels, threads * TASKS), 8) * 8;
    int most = divide_up((int)(STRIP_BYTES / job->panel_bytes), 8) * 8;
    job->block = job->g.m;
    job->blocks = 1;
    double work = (double)job->g.m * job->g.n * job->g.k;
    if (work < LINEAR_INLINE)
        job->strip = panels;
    else
        job->strip = bunch < most ? bunch : most;
}

/* Many rows: blocks become shorter when there would be too few tasks for the threads. */
static void share_tiles(struct linear_job *job, int panels, int threads)
{
    int strips = divide_up(panels, linear_strip_panels(job->w));
    job->strip = divide_up(divide_up(panels, strips), 2) * 2;
    int blocks = divide_up(job->g.m, BLOCK_ROWS);
    while (strips * blocks < threads * TASKS && job->g.m / blocks > 96)
        blocks++;
    job->block = divide_up(divide_up(job->g.m, blocks), 12) * 12;
    job->blocks = divide_up(job->g.m, job->block);
}

/* ---- rows in 8 bits -----------------------------------------------------------------
 */

struct quantise_job {
    struct net *net;
    const struct weight *w;
    const struct layer_norm *norm; /* applied before; NULL: none */
    const float *x;
    size_t x_stride, stride;
    int m;
};

void linear_code_row(const struct net *n, const struct weight *w,
                     const struct layer_norm *norm, const float *x, uint8_t *out,
                     float *scale, int32_t *sum, float *scratch)
{
    size_t k = (size_t)w->cols;
    if (norm) {
        n->kernels->layer_norm(scratch, x, norm->gain, norm->bias, k);
        x = scratch;
    }
    if (w->fine)
        n->kernels->quantise_16(x, k, quantised_most(k), out, scale, sum);
    else
        n->kernels->quantise_8(x, k, 127, out, scale, sum);
}

static void quantise_task(void *arg, int task, int thread)
{
    const struct quantise_job *job = arg;
    int end = (task + 1) * QUANTISE_ROWS < job->m ? (task + 1) * QUANTISE_ROWS : job->m;
    struct net *n = job->net;
    for (int row = task * QUANTISE_ROWS; row < end; row++)
        linear_code_row(n, job->w, job->norm, job->x + (size_t)row * job->x_stride,
                        n->codes + (size_t)row * job->stride, &n->code_scales[row],
                        &n->code_sums[row], net_strip(n, thread));
}

static void quantise(struct linear_job *job, const struct layer_norm *norm)
{
    struct net *n = job->net;
    const struct gemm *g = &job->g;
    /* Rows of a tile would fall into the same few sets of the first cache. */
    size_t stride = QUANTISED_BYTES(g->k) + 64;
    struct quantise_job rows = {n, job->w, norm, g->x, g->x_stride, stride, g->m};
    int tasks = divide_up(g->m, QUANTISE_ROWS);
    if ((double)g->m * g->k < LINEAR_INLINE)
        for (int task = 0; task < tasks; task++)
            quantise_task(&rows, task, 0);
    else
        pool_each(n->pool, tasks, quantise_task, &rows);
    job->s8 = (struct gemm_s8){
        .x = n->codes,
        .x_scales = n->code_scales,
        .x_sums = n->code_sums,
        .x_stride = stride,
        .w_stride = job->panel_bytes,
        .w_scales = job->w->scales,
        .bias = g->bias,
        .y = g->y,
        .y_stride = g->y_stride,
        .m = g->m,
        .k = g->k,
        .n = g->n,
        .flags = g->flags,
    };
}

size_t linear_code_bytes(int cols)
{
    return QUANTISED_BYTES(cols) + 64;
}

static void multiply(struct net *n, const struct weight *w, const struct layer_norm *norm,
                     const float *x, size_t x_stride, int m, float *y, size_t y_stride,
                     unsigned flags)
{
    bool s8 = w->type == WEIGHT_S8;
    struct linear_job job = {
        .net = n,
        .w = w,
        .g = {.x = x,
              .x_stride = x_stride,
              .w_stride = (size_t)w->cols * WEIGHT_PANEL,
              .bias = w->bias,
              .y = y,
              .y_stride = y_stride,
              .m = m,
              .k = w->cols,
              .n = w->rows,
              .flags = flags},
        .widen = m >= WIDEN_ROWS,
        .panel_bytes = panel_bytes(w),
    };
    int panels = divide_up(w->rows, WEIGHT_PANEL), threads = pool_size(n->pool);
    if (m < 1)
        return;
    if (job.widen)
        share_tiles(&job, panels, threads);
    else
        share_panels(&job, panels, threads);
    if (s8)
        quantise(&job, norm);
    pool_each(n->pool, divide_up(panels, job.strip) * job.blocks,
              s8 ? s8_task : linear_task, &job);
}

void linear(struct net *n, const struct weight *w, const float *x, size_t x_stride, int m,
            float *y, size_t y_stride, unsigned flags)
{
    multiply(n, w, NULL, x, x_stride, m, y, y_stride, flags);
}

/* ---- layer norm ---------------------------------------------------------------------
 */

struct norm_job {
    const struct kernels *kernels;
    const struct layer_norm *norm;
    const float *x;
    float *y;
    size_t y_stride;
    int m, cols, block;
};

static void norm_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct norm_job *job = arg;
    int end = (task + 1) * job->block < job->m ? (task + 1) * job->block : job->m;
    for (int row = task * job->block; row < end; row++)
        job->kernels->layer_norm(job->y + (size_t)row * job->y_stride,
                                 job->x + (size_t)row * (size_t)job->cols,
                                 job->norm->gain, job->norm->bias, (size_t)job->cols);
}

void normalise(struct net *n, const struct layer_norm *norm, const float *x, int m,
               int cols, float *y, size_t y_stride)
{
    struct norm_job job = {n->kernels, norm, x, y, y_stride, m, cols, 32};
    pool_each(n->pool, divide_up(m, job.block), norm_task, &job);
}

void linear_normed(struct net *n, const struct weight *w, const struct layer_norm *norm,
                   const float *x, int m, float *y, size_t y_stride, unsigned flags)
{
    size_t stride = (size_t)w->cols + ROW_PAD;
    if (w->type == WEIGHT_S8) {
        multiply(n, w, norm, x, (size_t)w->cols, m, y, y_stride, flags);
        return;
    }
    normalise(n, norm, x, m, w->cols, n->norm, stride);
    multiply(n, w, NULL, n->norm, stride, m, y, y_stride, flags);
}
