/* The encoder: two convolutions, positions, transformer blocks, a last norm; then the
 * decoder's keys and values of what it heard, for every layer, once per window.
 *
 * T = n_audio_ctx (1500), S = audio state. Windows are taken one after another: 1500 rows
 * fill every thread, and the scratch is that of one window. */
#include "engine/attention.h"
#include "engine/linear.h"

#define MEL_FRAMES    WHISPER_WINDOW_FRAMES
#define GREATEST_ROWS 96

/* Convolutions of width 3, padded by one frame at both ends, as matrix products: the
 * weight's columns are tap * channels + channel, and so is the memory of 3 neighbouring
 * frames. */
static void stem(struct net *n, const float *mel)
{
    const struct whisper_model *m = n->model;
    size_t state = (size_t)m->config.n_audio_state, mels = (size_t)m->config.n_mels;
    int frames = m->config.n_audio_ctx;
    memcpy(n->mel + mels, mel, MEL_FRAMES * mels * sizeof *mel);
    float *conv = n->wide; /* [3000 + 2][S] */
    memset(conv, 0, state * sizeof *conv);
    memset(conv + (MEL_FRAMES + 1) * state, 0, state * sizeof *conv);
    linear(n, &m->conv1, n->mel, mels, MEL_FRAMES, conv + state, state, GEMM_GELU);
    linear(n, &m->conv2, conv, 2 * state, frames, n->x, state, GEMM_GELU);
    for (size_t i = 0; i < (size_t)frames * state; i++)
        n->x[i] += m->audio_positions[i];
}

struct store_job {
    struct net *net;
    const struct kernels *kernels;
    struct kv *cache;
    const float *keys, *values; /* [T][stride] */
    size_t stride;
    int rows;
};

/* The greatest values of each column, which the scales of whole numbers follow. */
static void greatest_task(void *arg, int task, int thread)
{
    const struct store_job *job = arg;
    size_t state = (size_t)(job->cache->heads * job->cache->head_size);
    float *most = job->net->value_most + (size_t)thread * state;
    int end = (task + 1) * GREATEST_ROWS;
    end = end < job->rows ? end : job->rows;
    for (int row = task * GREATEST_ROWS; row < end; row++)
        job->kernels->greatest(most, job->values + (size_t)row * job->stride, state);
}

static void find_scales(struct net *n, struct store_job *job)
{
    size_t state = (size_t)(job->cache->heads * job->cache->head_size);
    size_t threads = (size_t)pool_size(n->pool);
    memset(n->value_most, 0, threads * state * sizeof *n->value_most);
    pool_each(n->pool, (job->rows + GREATEST_ROWS - 1) / GREATEST_ROWS, greatest_task,
              job);
    for (size_t i = 0; i < state; i++) {
        float most = 0;
        for (size_t t = 0; t < threads; t++) {
            float x = n->value_most[t * state + i];
            most = x > most ? x : most;
        }
        most = most < 3e38f ? most : 3e38f;
        job->cache->value_scales[i] = most / ATTEND_VALUES;
        n->value_inverses[i] = most > 1e-30f ? ATTEND_VALUES / most : 0;
    }
}

/* 16 rows fill whole panels of keys, so that threads never share a cache line. */
static void store_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct store_job *job = arg;
    int end = (task + 1) * WEIGHT_PANEL;
    end = end < job->rows ? end : job->rows;
    int first = task * WEIGHT_PANEL;
    if (job->cache->type == WEIGHT_S16) {
        kv_store_16(job->cache, job->kernels, first,
                    job->keys + (size_t)first * job->stride,
                    job->values + (size_t)first * job->stride, job->stride, end - first,
                    job->net->value_inverses);
        return;
    }
    if (job->cache->type == WEIGHT_S8) {
        kv_store_8(job->cache, job->kernels, first,
                   job->keys + (size_t)first * job->stride,
                   job->values + (size_t)first * job->stride, job->stride, end - first);
        return;
    }
    for (int row = first; row < end; row++)
        kv_store(job->cache, job->kernels, row, job->keys + (size_t)row * job->stride,
                 job->values + (size_t)row * job->stride);
}

static void store_all(struct net *n, struct kv *cache, const float *keys,
                      const float *values, size_t stride, int rows)
{
    struct store_job job = {n, n->kernels, cache, keys, values, stride, rows};
    if (cache->type == WEIGHT_S16)
        find_scales(n, &job);
    pool_each(n->pool, (rows + WEIGHT_PANEL - 1) / WEIGHT_PANEL, store_task, &job);
}

struct attention_job {
    struct net *net;
    struct attention a;
    int tiles; /* per head */
};

static void attention_task(void *arg, int task, int thread)
{
    const struct attention_job *job = arg;
    struct attention a = job->a;
    int row = task % job->tiles * ATTENTION_ROWS;
    a.query += (size_t)row * a.query_stride;
    a.out += (size_t)row * a.out_stride;
    a.rows = a.rows - row < ATTENTION_ROWS ? a.rows - row : ATTENTION_ROWS;
    attention_head(job->net, &a, task / job->tiles, thread);
}

/* x += out(attention(norm(x))): query, key and value come from one product, [T][3S]. */
static void attend(struct net *n, const struct encoder_layer *layer)
{
    int rows = n->model->config.n_audio_ctx, state = n->model->config.n_audio_state;
    size_t s = (size_t)state, norm_stride = s + ROW_PAD, stride = 3 * s + ROW_PAD;
    linear_normed(n, &layer->attn_qkv, &layer->attn_norm, n->x, rows, n->wide, stride, 0);
    store_all(n, &n->audio, n->wide + s, n->wide + 2 * s, stride, rows);
    struct attention_job job = {
        .net = n,
        .a = {.cache = &n->audio,
              .query = n->wide,
              .query_stride = stride,
              .out = n->norm,
              .out_stride = norm_stride,
              .rows = rows,
              .keys = rows},
        .tiles = (rows + ATTENTION_ROWS - 1) / ATTENTION_ROWS,
    };
    pool_each(n->pool, job.tiles * n->audio.heads, attention_task, &job);
    linear(n, &layer->attn_out, n->norm, norm_stride, rows, n->x, s, GEMM_ADD);
}

/* x += down(gelu(up(norm(x)))), hidden [T][4S]. */
static void feed_forward(struct net *n, const struct encoder_layer *layer)
{
    int rows = n->model->config.n_audio_ctx, state = n->model->config.n_audio_state;
    size_t s = (size_t)state, stride = 4 * s + ROW_PAD;
    linear_normed(n, &layer->mlp_up, &layer->mlp_norm, n->x, rows, n->wide, stride,
                  GEMM_GELU);
    linear(n, &layer->mlp_down, n->wide, stride, rows, n->x, s, GEMM_ADD);
}

/* Keys and values for every decoder layer, from the encoder's output in n->norm. */
static void fill_cross(struct net *n, int window)
{
    const struct whisper_model *m = n->model;
    size_t text = (size_t)m->config.n_text_state, stride = 2 * text + ROW_PAD;
    size_t norm_stride = (size_t)m->config.n_audio_state + ROW_PAD;
    int layers = m->config.n_text_layer, rows = m->config.n_audio_ctx;
    for (int i = 0; i < layers; i++) {
        linear_again(n, &m->decoder[i].cross_kv, n->norm, norm_stride, rows, n->wide,
                     stride, i > 0);
        store_all(n, &n->cross[window * layers + i], n->wide, n->wide + text, stride,
                  rows);
    }
}

static void encode_window(struct net *n, int window, const float *mel)
{
    const struct whisper_model *m = n->model;
    int rows = m->config.n_audio_ctx, state = m->config.n_audio_state;
    net_probe_fn probe = window == 0 ? n->probe : NULL;
    float *encoded = n->encoded + (size_t)window * (size_t)rows * (size_t)state;
    stem(n, mel);
    if (probe)
        probe(n->probe_arg, -1, n->x, rows, state);
    for (int i = 0; i < m->config.n_audio_layer; i++) {
        attend(n, &m->encoder[i]);
        feed_forward(n, &m->encoder[i]);
        if (probe)
            probe(n->probe_arg, i, n->x, rows, state);
    }
    normalise(n, &m->audio_norm, n->x, rows, state, n->norm, (size_t)state + ROW_PAD);
    for (int row = 0; row < rows; row++)
        memcpy(encoded + (size_t)row * (size_t)state,
               n->norm + (size_t)row * (size_t)(state + ROW_PAD),
               (size_t)state * sizeof *encoded);
    if (probe)
        probe(n->probe_arg, m->config.n_audio_layer, encoded, rows, state);
    fill_cross(n, window);
}

void net_encode(struct net *n, int first, const float *const *mel, int count)
{
    for (int i = 0; i < count && first + i < n->max_windows; i++)
        encode_window(n, first + i, mel[i]);
}

const float *net_encoded(const struct net *n, int window)
{
    return n->encoded + (size_t)window * (size_t)n->model->config.n_audio_ctx *
                            (size_t)n->model->config.n_audio_state;
}
