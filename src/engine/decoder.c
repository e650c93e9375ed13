/* The decoder: all inputs of a call in one pass, so that the weights are read once for
 * all sequences. A pass is a list of rows (tokens); the rows of one input are neighbours,
 * and inputs are ordered by window, so that the sequences that look at one window (the
 * beams) read its cross-attention cache together.
 *
 * R = rows, S = text state. */
#include "engine/attention.h"
#include "engine/linear.h"

/* Some rows that attend together. */
struct span {
    int first, rows;
    int slot;   /* self-attention: one input */
    int window; /* cross-attention: all inputs of one window */
};

struct pass {
    int rows, inputs, windows, wanted;
    struct span *input_spans;  /* [max_slots], in the order of the rows */
    struct span *window_spans; /* [max_slots] */
    int *order;                /* [max_slots] caller's inputs, sorted by window */
    int *first_row;            /* [max_slots] of each of the caller's inputs */
    int *wanted_row;           /* [max_rows] rows whose logits are wanted, in his order */
    bool *used;                /* [max_slots]: slot is in this call */
};

/* ---- memory ------------------------------------------------------------------------ */

static size_t pass_part(size_t count, size_t size)
{
    return (count * size + 63) / 64 * 64;
}

/* max_slots and max_rows are bounded by net_open: no overflow. */
size_t decoder_pass_bytes(int max_slots, int max_rows)
{
    size_t slots = (size_t)max_slots, rows = (size_t)max_rows;
    return pass_part(1, sizeof(struct pass)) + 2 * pass_part(slots, sizeof(struct span)) +
           2 * pass_part(slots, sizeof(int)) + pass_part(rows, sizeof(int)) +
           pass_part(slots, sizeof(bool));
}

void decoder_pass_init(struct net *n)
{
    struct pass *p = n->pass;
    size_t slots = (size_t)n->max_slots;
    char *at = (char *)p + pass_part(1, sizeof *p);
    p->input_spans = (void *)at;
    at += pass_part(slots, sizeof(struct span));
    p->window_spans = (void *)at;
    at += pass_part(slots, sizeof(struct span));
    p->order = (void *)at;
    at += pass_part(slots, sizeof(int));
    p->first_row = (void *)at;
    at += pass_part(slots, sizeof(int));
    p->wanted_row = (void *)at;
    at += pass_part((size_t)n->max_rows, sizeof(int));
    p->used = (void *)at;
}

/* ---- checks ------------------------------------------------------------------------ */

static int check_input(const struct net *n, const struct net_input *in, struct err *e)
{
    int context = n->model->config.n_text_ctx, vocab = n->model->config.n_vocab;
    if (in->slot < 0 || in->slot >= n->max_slots)
        return err_set(e, ERR_INVALID, "decoder slot %d does not exist", in->slot);
    if (in->n_tokens < 1 || in->logits_from < 0)
        return err_set(e, ERR_INVALID, "decoder slot %d: nothing to decode", in->slot);
    if (n->pass->used[in->slot])
        return err_set(e, ERR_INVALID, "decoder slot %d is named twice", in->slot);
    if (in->n_tokens > context - n->slots[in->slot].length)
        return err_set(e, ERR_INVALID, "decoder slot %d: %d tokens and %d more exceed %d",
                       in->slot, n->slots[in->slot].length, in->n_tokens, context);
    for (int i = 0; i < in->n_tokens; i++)
        if (in->tokens[i] < 0 || in->tokens[i] >= vocab)
            return err_set(e, ERR_INVALID, "token %d is not in the vocabulary of %d",
                           (int)in->tokens[i], vocab);
    return 0;
}

static int check_inputs(struct net *n, const struct net_input *inputs, int count,
                        struct err *e)
{
    memset(n->pass->used, 0, (size_t)n->max_slots * sizeof *n->pass->used);
    for (int i = 0; i < count; i++) {
        int status = check_input(n, &inputs[i], e);
        if (status)
            return status;
        n->pass->used[inputs[i].slot] = true;
    }
    return 0;
}

/* ---- the plan of a pass ------------------------------------------------------------ */

static int window_of(const struct net *n, const struct net_input *in)
{
    return n->slots[in->slot].window;
}

/* Few inputs, mostly in order already: insertion, which keeps equals as they are. */
static void order_by_window(struct net *n, const struct net_input *inputs, int count)
{
    int *order = n->pass->order;
    for (int i = 0; i < count; i++) {
        int at = i;
        for (; at > 0 && window_of(n, &inputs[order[at - 1]]) > window_of(n, &inputs[i]);
             at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

static void plan_rows(struct net *n, const struct net_input *inputs, int count)
{
    struct pass *p = n->pass;
    p->rows = p->windows = 0;
    p->inputs = count;
    for (int i = 0; i < count; i++) {
        const struct net_input *in = &inputs[p->order[i]];
        int window = window_of(n, in);
        p->first_row[p->order[i]] = p->rows;
        p->input_spans[i] = (struct span){p->rows, in->n_tokens, in->slot, window};
        if (p->windows == 0 || p->window_spans[p->windows - 1].window != window)
            p->window_spans[p->windows++] = (struct span){p->rows, 0, -1, window};
        p->window_spans[p->windows - 1].rows += in->n_tokens;
        p->rows += in->n_tokens;
    }
}

static void plan_wanted(struct net *n, const struct net_input *inputs, int count)
{
    struct pass *p = n->pass;
    p->wanted = 0;
    for (int i = 0; i < count; i++)
        for (int t = inputs[i].logits_from; t < inputs[i].n_tokens; t++)
            p->wanted_row[p->wanted++] = p->first_row[i] + t;
}

/* ---- the layers -------------------------------------------------------------------- */

/* A row of the embedding is a column of lanes in its panel. */
static void embed(const struct net *n, int32_t token, int position, float *x)
{
    const struct weight *w = &n->model->token_embedding;
    size_t cols = (size_t)w->cols;
    size_t at = (size_t)(token / WEIGHT_PANEL) * cols * WEIGHT_PANEL +
                (size_t)(token % WEIGHT_PANEL);
    const float *positions = n->model->text_positions + (size_t)position * cols;
    for (size_t i = 0; i < cols; i++, at += WEIGHT_PANEL) {
        float value = w->type == WEIGHT_S8 ? weight_at(w, token, (int)i)
                      : w->type == WEIGHT_F16
                          ? half_to_float(((const uint16_t *)w->data)[at])
                          : ((const float *)w->data)[at];
        x[i] = value + positions[i];
    }
}

static void embed_all(struct net *n, const struct net_input *inputs)
{
    size_t state = (size_t)n->model->config.n_text_state;
    for (int i = 0; i < n->pass->inputs; i++) {
        const struct net_input *in = &inputs[n->pass->order[i]];
        int row = n->pass->input_spans[i].first, length = n->slots[in->slot].length;
        for (int t = 0; t < in->n_tokens; t++)
            embed(n, in->tokens[t], length + t, n->x + (size_t)(row + t) * state);
    }
}

static struct kv *self_cache(const struct net *n, int slot, int layer)
{
    return &n->self[slot * n->model->config.n_text_layer + layer];
}

struct attend_job {
    struct net *net;
    int layer, heads;
    size_t query_stride, out_stride;
};

/* All but the cache and what is seen of it. */
static struct attention attention_of(const struct attend_job *job,
                                     const struct span *span)
{
    const struct net *n = job->net;
    return (struct attention){
        .query = n->wide + (size_t)span->first * job->query_stride,
        .query_stride = job->query_stride,
        .out = n->norm + (size_t)span->first * job->out_stride,
        .out_stride = job->out_stride,
        .rows = span->rows,
    };
}

static void self_task(void *arg, int task, int thread)
{
    const struct attend_job *job = arg;
    const struct net *n = job->net;
    const struct span *span = &n->pass->input_spans[task / job->heads];
    struct attention a = attention_of(job, span);
    a.cache = self_cache(n, span->slot, job->layer);
    a.keys = n->slots[span->slot].length + span->rows;
    a.causal = true;
    attention_head(n, &a, task % job->heads, thread);
}

/* ---- capture ----------------------------------------------------------------------- */

/* Captured heads of one layer: the index of the first, and how many. */
static int captured_heads(const struct net *n, int layer, int *first)
{
    const struct net_capture *c = n->capture;
    int end, begin = 0;
    while (begin < c->n_heads && c->heads[begin].layer < layer)
        begin++;
    for (end = begin; end < c->n_heads && c->heads[end].layer == layer;)
        end++;
    *first = begin;
    return end - begin;
}

/* Where a head's rows go; NULL when nobody wants them. */
static float *captured_rows(const struct net *n, int layer, int head)
{
    const struct net_capture *c = n->capture;
    int first, count = captured_heads(n, layer, &first);
    for (int i = 0; i < count; i++)
        if (c->heads[first + i].head == head)
            return c->out + (size_t)i * (size_t)n->pass->rows * (size_t)c->columns;
    return NULL;
}

static void hand_out_layer(const struct net *n, int layer)
{
    int first, count = captured_heads(n, layer, &first);
    if (count > 0)
        n->capture->layer(n->capture->arg, first, count, n->pass->rows);
}

static void cross_task(void *arg, int task, int thread)
{
    const struct attend_job *job = arg;
    const struct net *n = job->net;
    const struct span *span = &n->pass->window_spans[task / job->heads];
    int layers = n->model->config.n_text_layer, head = task % job->heads;
    struct attention a = attention_of(job, span);
    a.cache = &n->cross[span->window * layers + job->layer];
    a.keys = n->model->config.n_audio_ctx;
    if (n->capture) {
        a.seen = captured_rows(n, job->layer, head);
        a.n_seen = n->capture->columns;
    }
    attention_head(n, &a, head, thread);
}

/* A few products of one step's self-attention are not worth waking anyone for. */
static void run_tasks(struct net *n, double multiplications, int count, pool_task_fn fn,
                      struct attend_job *job)
{
    if (multiplications > LINEAR_INLINE) {
        pool_each(n->pool, count, fn, job);
        return;
    }
    for (int task = 0; task < count; task++)
        fn(job, task, 0);
}

/* Scores and sums of all heads over the caches of the pass's inputs. */
static double self_work(const struct net *n)
{
    double sum = 0;
    for (int i = 0; i < n->pass->inputs; i++) {
        const struct span *span = &n->pass->input_spans[i];
        sum += 2.0 * span->rows * (n->slots[span->slot].length + span->rows) *
               n->model->config.n_text_state;
    }
    return sum;
}

/* Keys and values of the new rows, [R][3S] as query, key, value, into the slots. */
static void store_rows(struct net *n, int layer, size_t stride)
{
    size_t state = (size_t)n->model->config.n_text_state;
    for (int i = 0; i < n->pass->inputs; i++) {
        const struct span *span = &n->pass->input_spans[i];
        const float *row = n->wide + (size_t)span->first * stride;
        for (int t = 0; t < span->rows; t++, row += stride)
            kv_store(self_cache(n, span->slot, layer), n->kernels,
                     n->slots[span->slot].length + t, row + state, row + 2 * state);
    }
}

static void self_attention(struct net *n, int i)
{
    const struct decoder_layer *layer = &n->model->decoder[i];
    int rows = n->pass->rows, state = n->model->config.n_text_state;
    size_t s = (size_t)state, norm_stride = s + ROW_PAD, stride = 3 * s + ROW_PAD;
    struct attend_job job = {n, i, n->model->config.n_text_head, stride, norm_stride};
    linear_normed(n, &layer->attn_qkv, &layer->attn_norm, n->x, rows, n->wide, stride, 0);
    store_rows(n, i, stride);
    run_tasks(n, self_work(n), n->pass->inputs * job.heads, self_task, &job);
    linear(n, &layer->attn_out, n->norm, norm_stride, rows, n->x, s, GEMM_ADD);
}

static void cross_attention(struct net *n, int i)
{
    const struct decoder_layer *layer = &n->model->decoder[i];
    int rows = n->pass->rows, state = n->model->config.n_text_state;
    size_t s = (size_t)state, norm_stride = s + ROW_PAD;
    struct attend_job job = {n, i, n->model->config.n_text_head, norm_stride,
                             norm_stride};
    linear_normed(n, &layer->cross_q, &layer->cross_norm, n->x, rows, n->wide,
                  norm_stride, 0);
    pool_each(n->pool, n->pass->windows * job.heads, cross_task, &job);
    if (n->capture)
        hand_out_layer(n, i);
    linear(n, &layer->cross_out, n->norm, norm_stride, rows, n->x, s, GEMM_ADD);
}

static void feed_forward(struct net *n, int i)
{
    const struct decoder_layer *layer = &n->model->decoder[i];
    int rows = n->pass->rows, state = n->model->config.n_text_state;
    size_t s = (size_t)state, stride = 4 * s + ROW_PAD;
    linear_normed(n, &layer->mlp_up, &layer->mlp_norm, n->x, rows, n->wide, stride,
                  GEMM_GELU);
    linear(n, &layer->mlp_down, n->wide, stride, rows, n->x, s, GEMM_ADD);
}

/* Logits [wanted][n_vocab]: the last norm, of the wanted rows only, times the token
 * embedding. The residual stream stays, for net_logits. */
static void wanted_logits(struct net *n, float *logits)
{
    const struct whisper_model *m = n->model;
    size_t state = (size_t)m->config.n_text_state, stride = state + ROW_PAD;
    for (int i = 0; i < n->pass->wanted; i++)
        n->kernels->layer_norm(n->norm + (size_t)i * stride,
                               n->x + (size_t)n->pass->wanted_row[i] * state,
                               m->text_norm.gain, m->text_norm.bias, state);
    linear(n, &m->token_embedding, n->norm, stride, n->pass->wanted, logits,
           (size_t)m->config.n_vocab, 0);
}

static void decode_pass(struct net *n, const struct net_input *inputs, int count,
                        float *logits)
{
    order_by_window(n, inputs, count);
    plan_rows(n, inputs, count);
    plan_wanted(n, inputs, count);
    embed_all(n, inputs);
    for (int i = 0; i < n->model->config.n_text_layer; i++) {
        self_attention(n, i);
        cross_attention(n, i);
        feed_forward(n, i);
    }
    wanted_logits(n, logits);
    for (int i = 0; i < count; i++)
        n->slots[inputs[i].slot].length += inputs[i].n_tokens;
}

void net_logits(struct net *n, int first, int count, float *logits)
{
    n->pass->wanted = count;
    for (int i = 0; i < count; i++)
        n->pass->wanted_row[i] = first + i;
    wanted_logits(n, logits);
}

static int check_capture(const struct net *n, int count, struct err *e)
{
    if (n->capture && count != 1)
        return err_set(e, ERR_INVALID, "attention is captured of one sequence at a time");
    return 0;
}

int net_decode(struct net *n, const struct net_input *inputs, int count, float *logits,
               struct err *e)
{
    int status = check_inputs(n, inputs, count, e);
    if (!status)
        status = check_capture(n, count, e);
    if (status)
        return status;
    /* As many inputs at once as the scratch has rows for; one always fits. */
    while (count > 0) {
        int taken = 0, rows = 0;
        while (taken < count && rows + inputs[taken].n_tokens <= n->max_rows)
            rows += inputs[taken++].n_tokens;
        decode_pass(n, inputs, taken, logits);
        logits += (size_t)n->pass->wanted * (size_t)n->model->config.n_vocab;
        inputs += taken;
        count -= taken;
    }
    return 0;
}
