/* The encoder: two convolutions, positions, transformer blocks, a last norm; then the
 * decoder's keys and values of what it heard, for every layer, once per window.
 *
 * T = n_audio_ctx (1500), S = audio state. Windows are taken one after another: 1500 rows
 * fill every thread, and the scratch is that of one window. From one attention to the
 * next, a thread takes a block of rows through everything (rows.h). */
#include "engine/attention.h"
#include "engine/linear.h"
#include "engine/rows.h"

#define MEL_FRAMES WHISPER_WINDOW_FRAMES

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

/* ---- blocks of rows ---------------------------------------------------------------- */

struct chain {
    struct net *net;
    const struct encoder_layer *after;  /* what follows its attention; NULL: nothing */
    const struct encoder_layer *before; /* what leads to its attention; NULL: the
                                         * decoder's keys and values, of `window` */
    int block;                          /* rows of a task */
    int window;
};

static size_t query_stride(const struct net *n)
{
    return 2 * (size_t)n->model->config.n_audio_state + ROW_PAD;
}

/* Keys of a block of rows from `first` on; values, too, where no scale of theirs has to
 * wait for the last row. At most 16 at a time, which fill whole panels of keys: threads
 * never share a cache line. */
static void store_block(struct net *n, int first, int rows, const float *keys,
                        size_t stride, const float *values, size_t value_stride)
{
    struct kv *cache = &n->audio;
    for (int i = 0; i < rows; i += WEIGHT_PANEL) {
        int part = rows - i < WEIGHT_PANEL ? rows - i : WEIGHT_PANEL;
        const float *key = keys + (size_t)i * stride;
        const float *value = values + (size_t)i * value_stride;
        if (cache->type == WEIGHT_S16) {
            kv_store_keys_16(cache, n->kernels, first + i, key, stride, part);
            continue;
        }
        for (int r = 0; r < part; r++)
            kv_store(cache, n->kernels, first + i + r, key + (size_t)r * stride,
                     value + (size_t)r * value_stride);
    }
}

/* Query, key and value of the norm of x: queries and values to n->wide, [T][2S]; keys
 * into the cache. */
static void lead_to(const struct encoder_layer *layer, struct rows *r, struct net *n,
                    int first)
{
    int state = n->model->config.n_audio_state;
    size_t s = (size_t)state, stride = query_stride(n);
    float *queries = n->wide + (size_t)first * stride, *values = queries + s;
    float *most = n->value_most + (size_t)r->thread * s;
    rows_load(r, &layer->attn_qkv, &layer->attn_norm, n->x + (size_t)first * s, s);
    rows_multiply(r, &layer->attn_qkv, 0, state, queries, stride, 0);
    rows_multiply(r, &layer->attn_qkv, state, state, r->wide, r->wide_stride, 0);
    rows_multiply(r, &layer->attn_qkv, 2 * state, state, values, stride, 0);
    store_block(n, first, r->m, r->wide, r->wide_stride, values, stride);
    for (int i = 0; i < r->m && n->audio.type == WEIGHT_S16; i++)
        n->kernels->greatest(most, values + (size_t)i * stride, s);
}

/* x += out(attention), which is where the queries were; x += down(gelu(up(norm(x)))),
 * hidden [rows][4S]. */
static void follow(const struct encoder_layer *layer, struct rows *r, struct net *n,
                   int first)
{
    int state = n->model->config.n_audio_state;
    size_t s = (size_t)state;
    float *x = n->x + (size_t)first * s;
    size_t stride = query_stride(n);
    rows_load(r, &layer->attn_out, NULL, n->wide + (size_t)first * stride, stride);
    rows_multiply(r, &layer->attn_out, 0, state, x, s, GEMM_ADD);
    rows_load(r, &layer->mlp_up, &layer->mlp_norm, x, s);
    rows_multiply(r, &layer->mlp_up, 0, 4 * state, r->wide, r->wide_stride, GEMM_GELU);
    rows_load(r, &layer->mlp_down, NULL, r->wide, r->wide_stride);
    rows_multiply(r, &layer->mlp_down, 0, state, x, s, GEMM_ADD);
}

static void store_heard(const struct net *n, struct kv *cache, const struct rows *r,
                        int first, size_t text)
{
    for (int i = 0; i < r->m; i += WEIGHT_PANEL) {
        const float *key = r->wide + (size_t)i * r->wide_stride;
        int part = r->m - i < WEIGHT_PANEL ? r->m - i : WEIGHT_PANEL;
        if (cache->type == WEIGHT_S8) {
            kv_store_8(cache, n->kernels, first + i, key, key + text, r->wide_stride,
                       part);
            continue;
        }
        for (int t = 0; t < part; t++, key += r->wide_stride)
            kv_store(cache, n->kernels, first + i + t, key, key + text);
    }
}

/* The last norm, and keys and values for every decoder layer. */
static void hand_over(struct rows *r, struct net *n, int first, int window)
{
    const struct whisper_model *m = n->model;
    size_t s = (size_t)m->config.n_audio_state, text = (size_t)m->config.n_text_state;
    int layers = m->config.n_text_layer;
    float *x = n->x + (size_t)first * s;
    for (int i = 0; i < r->m; i++)
        n->kernels->layer_norm(x + (size_t)i * s, x + (size_t)i * s, m->audio_norm.gain,
                               m->audio_norm.bias, s);
    for (int i = 0; i < layers; i++) {
        const struct weight *w = &m->decoder[i].cross_kv;
        if (i == 0 || w->fine != m->decoder[i - 1].cross_kv.fine ||
            w->type != m->decoder[i - 1].cross_kv.type)
            rows_load(r, w, NULL, x, s);
        rows_multiply(r, w, 0, 2 * (int)text, r->wide, r->wide_stride, 0);
        store_heard(n, &n->cross[window * layers + i], r, first, text);
    }
}

static void chain_task(void *arg, int task, int thread)
{
    const struct chain *c = arg;
    struct net *n = c->net;
    int first = task * c->block, left = n->model->config.n_audio_ctx - first;
    struct rows r;
    rows_begin(&r, n, thread, left < c->block ? left : c->block);
    if (c->after)
        follow(c->after, &r, n, first);
    if (c->before)
        lead_to(c->before, &r, n, first);
    else if (!c->after)
        hand_over(&r, n, first, c->window);
}

static void run_chain(struct net *n, const struct encoder_layer *after,
                      const struct encoder_layer *before, int window)
{
    int rows = n->model->config.n_audio_ctx, state = n->model->config.n_audio_state;
    struct chain c = {n, after, before, 0, window};
    c.block = rows_of_block(state, rows, pool_size(n->pool));
    memset(n->value_most, 0,
           (size_t)pool_size(n->pool) * (size_t)state * sizeof *n->value_most);
    pool_each(n->pool, (rows + c.block - 1) / c.block, chain_task, &c);
}

/* ---- attention --------------------------------------------------------------------- */

/* What the greatest values of each column allow. */
static void find_scales(struct net *n)
{
    size_t state = (size_t)n->model->config.n_audio_state;
    size_t threads = (size_t)pool_size(n->pool);
    for (size_t i = 0; i < state; i++) {
        float most = 0;
        for (size_t t = 0; t < threads; t++) {
            float x = n->value_most[t * state + i];
            most = x > most ? x : most;
        }
        most = most < 3e38f ? most : 3e38f;
        n->audio.value_scales[i] = most / ATTEND_VALUES;
        n->value_inverses[i] = most > 1e-30f ? ATTEND_VALUES / most : 0;
    }
}

static void value_task(void *arg, int task, int thread)
{
    (void)thread;
    struct net *n = arg;
    int first = task * WEIGHT_PANEL, rows = n->model->config.n_audio_ctx - first;
    kv_store_values_16(
        &n->audio, n->kernels, first,
        n->wide + (size_t)first * query_stride(n) + n->model->config.n_audio_state,
        query_stride(n), rows < WEIGHT_PANEL ? rows : WEIGHT_PANEL, n->value_inverses);
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

/* Of the queries in n->wide, in their place: a tile's are read before it is written. */
static void attend(struct net *n)
{
    int rows = n->model->config.n_audio_ctx;
    struct attention_job job = {
        .net = n,
        .a = {.cache = &n->audio,
              .query = n->wide,
              .query_stride = query_stride(n),
              .out = n->wide,
              .out_stride = query_stride(n),
              .rows = rows,
              .keys = rows},
        .tiles = (rows + ATTENTION_ROWS - 1) / ATTENTION_ROWS,
    };
    if (n->audio.type == WEIGHT_S16) {
        find_scales(n);
        pool_each(n->pool, (rows + WEIGHT_PANEL - 1) / WEIGHT_PANEL, value_task, n);
    }
    pool_each(n->pool, job.tiles * n->audio.heads, attention_task, &job);
}

static void encode_window(struct net *n, int window, const float *mel)
{
    const struct whisper_model *m = n->model;
    int rows = m->config.n_audio_ctx, state = m->config.n_audio_state;
    int layers = m->config.n_audio_layer;
    net_probe_fn probe = window == 0 ? n->probe : NULL;
    stem(n, mel);
    if (probe)
        probe(n->probe_arg, -1, n->x, rows, state);
    run_chain(n, NULL, &m->encoder[0], window);
    for (int i = 0; i < layers; i++) {
        if (n->stop && n->stop(n->stop_arg))
            return;
        attend(n);
        run_chain(n, &m->encoder[i], i + 1 < layers ? &m->encoder[i + 1] : NULL, window);
        if (probe)
            probe(n->probe_arg, i, n->x, rows, state);
    }
    run_chain(n, NULL, NULL, window);
    if (probe)
        probe(n->probe_arg, layers, n->x, rows, state);
}

void net_encode(struct net *n, int first, const float *const *mel, int count)
{
    for (int i = 0; i < count && first + i < n->max_windows; i++)
        encode_window(n, first + i, mel[i]);
}

void net_set_stop(struct net *n, bool (*stop)(void *arg), void *arg)
{
    n->stop = stop;
    n->stop_arg = arg;
}

const float *net_encoded(const struct net *n)
{
    return n->x;
}
