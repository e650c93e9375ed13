/* How a matrix product is shared out.
 *
 * Many rows (the encoder, a long prompt): tasks are a strip of panels times a block of
 * rows. The strip stays in the second cache while the rows pass; halves are widened to
 * floats once per strip. Few rows (a decoder step) are limited by reading the weights:
 * each thread reads its panels once, for all rows, widening on the way. */
#include "engine/linear.h"

#define WIDEN_ROWS   48               /* from here on a strip is widened first */
#define STRIP_FLOATS (192 * 1024 / 4) /* a good part of the second cache */
#define BLOCK_ROWS   252              /* 21 tiles of 12 rows, 42 of 6 */
#define TASKS        4 /* per thread, so that a slow one does not hold up all */

struct linear_job {
    struct net *net; /* borrowed */
    const struct weight *w;
    struct gemm g;
    int strip; /* panels of a task */
    int block; /* rows of a task */
    int blocks;
    bool widen;
};

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

/* Panels of `cols` columns in one strip: an even number, at least 2. */
static int strip_panels(int cols)
{
    int n = STRIP_FLOATS / (cols * WEIGHT_PANEL) / 2 * 2;
    return n < 2 ? 2 : n;
}

size_t linear_strip_floats(int cols)
{
    size_t two = 2 * (size_t)cols * WEIGHT_PANEL;
    return two > STRIP_FLOATS ? two : STRIP_FLOATS;
}

static const void *panel_at(const struct weight *w, int panel)
{
    size_t at = (size_t)panel * (size_t)w->cols * WEIGHT_PANEL;
    return w->type == WEIGHT_F16 ? (const void *)((const uint16_t *)w->data + at)
                                 : (const void *)((const float *)w->data + at);
}

static void linear_task(void *arg, int task, int thread)
{
    const struct linear_job *job = arg;
    const struct kernels *k = job->net->kernels;
    struct gemm g = job->g;
    int panel = task / job->blocks * job->strip, row = task % job->blocks * job->block;
    int column = panel * WEIGHT_PANEL;
    g.n = g.n - column < job->strip * WEIGHT_PANEL ? g.n - column
                                                   : job->strip * WEIGHT_PANEL;
    g.m = g.m - row < job->block ? g.m - row : job->block;
    g.x += (size_t)row * g.x_stride;
    g.y += (size_t)row * g.y_stride + column;
    g.bias = g.bias ? g.bias + column : NULL;
    g.w = panel_at(job->w, panel);
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
    int most = divide_up(STRIP_FLOATS / WEIGHT_PANEL / job->g.k, 8) * 8;
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
    int strips = divide_up(panels, strip_panels(job->g.k));
    job->strip = divide_up(divide_up(panels, strips), 2) * 2;
    int blocks = divide_up(job->g.m, BLOCK_ROWS);
    while (strips * blocks < threads * TASKS && job->g.m / blocks > 96)
        blocks++;
    job->block = divide_up(divide_up(job->g.m, blocks), 12) * 12;
    job->blocks = divide_up(job->g.m, job->block);
}

void linear(struct net *n, const struct weight *w, const float *x, size_t x_stride, int m,
            float *y, size_t y_stride, unsigned flags)
{
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
    };
    int panels = divide_up(w->rows, WEIGHT_PANEL), threads = pool_size(n->pool);
    if (m < 1)
        return;
    if (job.widen)
        share_tiles(&job, panels, threads);
    else
        share_panels(&job, panels, threads);
    pool_each(n->pool, divide_up(panels, job.strip) * job.blocks, linear_task, &job);
}

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
