/* scores = Q Kᵀ / sqrt(d); softmax; out = P V, for ATTENTION_ROWS queries at a time, so
 * that the scores (24 x 1500 floats) stay in the second cache between the three steps. */
#include "engine/attention.h"

#include <math.h>

/* Row r of the tile sees keys - (rows - 1 - r) positions when causal: probabilities of
 * the others are zero. */
static void softmax_rows(const struct net *n, float *scores, int rows, int keys,
                         bool causal, float scale)
{
    for (int r = 0; r < rows; r++, scores += n->score_stride) {
        int seen = causal ? keys - (rows - 1 - r) : keys;
        n->kernels->softmax(scores, (size_t)seen, scale);
        memset(scores + seen, 0, (size_t)(keys - seen) * sizeof *scores);
    }
}

/* Hand out what the rows look at. */
static void show_rows(const struct net *n, const struct attention *a, int row, int rows,
                      const float *scores)
{
    size_t columns = (size_t)a->n_seen;
    for (int r = 0; r < rows; r++)
        memcpy(a->seen + (size_t)(row + r) * columns,
               scores + (size_t)r * n->score_stride, columns * sizeof *scores);
}

static void multiply(const struct net *n, const struct kv *cache, const struct gemm *g)
{
    if (cache->type == WEIGHT_F16)
        n->kernels->gemm_f16(g);
    else
        n->kernels->gemm_f32(g);
}

/* Rows of queries times the keys of a head, to scores. */
static struct gemm score_product(const struct net *n, const struct attention *a, int head,
                                 int row, int rows, float *scores, int keys)
{
    const struct kv *c = a->cache;
    return (struct gemm){
        .x = a->query + (size_t)row * a->query_stride +
             (size_t)head * (size_t)c->head_size,
        .x_stride = a->query_stride,
        .w = kv_keys(c, head),
        .w_stride = kv_key_stride(c),
        .y = scores,
        .y_stride = n->score_stride,
        .m = rows,
        .k = c->head_size,
        .n = keys,
    };
}

/* Scores times the values, to the rows' share of the output. */
static struct gemm value_product(const struct net *n, const struct attention *a, int head,
                                 int row, int rows, const float *scores, int keys)
{
    const struct kv *c = a->cache;
    return (struct gemm){
        .x = scores,
        .x_stride = n->score_stride,
        .w = kv_values(c, head),
        .w_stride = kv_value_stride(c),
        .y = a->out + (size_t)row * a->out_stride + (size_t)head * (size_t)c->head_size,
        .y_stride = a->out_stride,
        .m = rows,
        .k = keys,
        .n = c->head_size,
    };
}

static void attention_tile(const struct net *n, const struct attention *a, int head,
                           int row, int rows, float *scores)
{
    const struct kv *c = a->cache;
    int keys = a->causal ? a->keys - (a->rows - row - rows) : a->keys;
    const struct gemm score = score_product(n, a, head, row, rows, scores, keys);
    multiply(n, c, &score);
    softmax_rows(n, scores, rows, keys, a->causal, 1.0f / sqrtf((float)c->head_size));
    if (a->seen)
        show_rows(n, a, row, rows, scores);
    const struct gemm sum = value_product(n, a, head, row, rows, scores, keys);
    multiply(n, c, &sum);
}

/* y[rows][columns] = x[rows][k] times bytes of the cache. */
static void multiply_bytes(const struct net *n, const struct gemm *g, const float *scales,
                           char *numbers)
{
    float x_scales[ATTENTION_ROWS];
    int32_t sums[ATTENTION_ROWS];
    float most = quantised_most((size_t)g->k);
    for (int r = 0; r < g->m; r++)
        n->kernels->quantise_16(g->x + (size_t)r * g->x_stride, (size_t)g->k, most,
                                numbers + (size_t)r * n->share_stride, &x_scales[r],
                                &sums[r]);
    n->kernels->gemm_s8_16(&(struct gemm_s8){
        .x = numbers,
        .x_scales = x_scales,
        .x_sums = sums,
        .x_stride = n->share_stride,
        .w = g->w,
        .w_stride = g->w_stride,
        .w_scales = scales,
        .y = g->y,
        .y_stride = g->y_stride,
        .m = g->m,
        .k = g->k,
        .n = g->n,
    });
}

/* The decoder's look at what was heard, in bytes: its time is that of reading them. */
static void attend_bytes(const struct net *n, const struct attention *a, int head,
                         int row, int rows, int thread)
{
    const struct kv *c = a->cache;
    float *scores = net_scores(n, thread);
    const float *scales = c->value_scales + (size_t)head * (size_t)c->capacity;
    const struct gemm score =
        score_product(n, a, head, row, rows, scores,
                      (a->keys + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES);
    multiply_bytes(n, &score, c->key_scales + (size_t)head * (size_t)c->capacity,
                   net_shares(n, thread));
    softmax_rows(n, scores, rows, a->keys, false, 1.0f / sqrtf((float)c->head_size));
    if (a->seen)
        show_rows(n, a, row, rows, scores);
    for (int r = 0; r < rows; r++) {
        float *share = scores + (size_t)r * n->score_stride;
        for (int i = 0; i < a->keys; i++)
            share[i] *= scales[i];
    }
    const struct gemm sum = value_product(n, a, head, row, rows, scores, a->keys);
    multiply_bytes(n, &sum, n->ones, net_shares(n, thread));
}

static void attend_whole(const struct net *n, const struct attention *a, int head,
                         float *scratch)
{
    const struct kv *c = a->cache;
    size_t column = (size_t)head * (size_t)c->head_size;
    struct attend attend = {
        .query = a->query + column,
        .query_stride = a->query_stride,
        .keys = kv_keys(c, head),
        .values = kv_values(c, head),
        .key_scales = c->key_scales + (size_t)head * (size_t)c->capacity,
        .value_scales = c->value_scales + column,
        .value_stride = kv_value_stride(c),
        .out = a->out + column,
        .out_stride = a->out_stride,
        .n_keys = a->keys,
        .scale = 1.0f / sqrtf((float)c->head_size),
        .scratch = scratch,
    };
    for (int row = 0; row < a->rows; row += ATTEND_ROWS) {
        attend.rows = a->rows - row < ATTEND_ROWS ? a->rows - row : ATTEND_ROWS;
        n->kernels->attend(&attend);
        attend.query += ATTEND_ROWS * a->query_stride;
        attend.out += ATTEND_ROWS * a->out_stride;
    }
}

void attention_head(const struct net *n, const struct attention *a, int head, int thread)
{
    float *scores = net_scores(n, thread);
    if (a->cache->type == WEIGHT_S16) {
        attend_whole(n, a, head, scores);
        return;
    }
    for (int row = 0; row < a->rows; row += ATTENTION_ROWS) {
        int rows = a->rows - row < ATTENTION_ROWS ? a->rows - row : ATTENTION_ROWS;
        if (a->cache->type == WEIGHT_S8)
            attend_bytes(n, a, head, row, rows, thread);
        else
            attention_tile(n, a, head, row, rows, scores);
    }
}
