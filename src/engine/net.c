/* Opening the net: every buffer is laid out in one mapping whose size is known, and
 * checked, before anything is computed. The mapping is zero and untouched at first, so
 * that caches which are never used take no memory. */
#include "engine/net.h"

#include "base/mem.h"
#include "engine/linear.h"
#include "engine/rows.h"

#include <sys/mman.h>

#define MAX_WINDOWS 64
#define MAX_SLOTS   512
#define PAGE        4096 /* or a part of one: then the wishes fail */

/* ---- layout ------------------------------------------------------------------------ */

/* Runs twice: without a base it only adds up. */
struct layout {
    char *base;
    size_t used;
    bool overflow;
};

static void *take(struct layout *l, size_t count, size_t size)
{
    size_t bytes, end;
    if (!size_mul(count, size, &bytes) || !size_add(bytes, 63, &bytes) ||
        !size_add(l->used, bytes / 64 * 64, &end)) {
        l->overflow = true;
        return NULL;
    }
    void *memory = l->base ? l->base + l->used : NULL;
    l->used = end;
    return memory;
}

static float *take_floats(struct layout *l, size_t a, size_t b)
{
    size_t count;
    if (size_mul(a, b, &count))
        return take(l, count, sizeof(float));
    l->overflow = true;
    return NULL;
}

/* A cache of `count` layers. */
static struct kv *take_caches(struct layout *l, size_t count, enum weight_type type,
                              int heads, int state, int capacity)
{
    struct kv shape = {.type = type,
                       .heads = heads,
                       .head_size = state / heads,
                       .capacity = (capacity + 31) / 32 * 32};
    size_t bytes = 0;
    l->overflow |= !kv_bytes(&shape, &bytes);
    struct kv *caches = take(l, count, sizeof *caches);
    for (size_t i = 0; i < count && !l->overflow; i++) {
        shape.keys = take(l, bytes, 1);
        shape.values = take(l, bytes, 1);
        if (type == WEIGHT_S16 || type == WEIGHT_S8) {
            size_t per_head = (size_t)shape.capacity;
            shape.key_scales = take_floats(l, (size_t)heads, per_head);
            per_head = type == WEIGHT_S8 ? per_head : (size_t)shape.head_size;
            shape.value_scales = take_floats(l, (size_t)heads, per_head);
        }
        if (caches)
            caches[i] = shape;
    }
    return caches;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The residual stream and its scratch serve encoder and decoder in turn. */
static void lay_out_rows(struct net *n, struct layout *l)
{
    const struct whisper_config *c = &n->model->config;
    size_t state = larger((size_t)c->n_audio_state, (size_t)c->n_text_state);
    size_t steps = (size_t)n->max_rows, frames = (size_t)c->n_audio_ctx;
    size_t rows = larger(frames, steps);
    /* The first convolution's 3002 frames, queries and values, a step's hidden rows. */
    size_t wide =
        larger((frames + 1) * (2 * state + ROW_PAD), steps * (4 * state + ROW_PAD));
    n->mel = take_floats(l, WHISPER_WINDOW_FRAMES + 2, (size_t)c->n_mels);
    n->x = take_floats(l, rows, state);
    n->norm = take_floats(l, steps, state + ROW_PAD);
    n->wide = take_floats(l, wide, 1);
    n->codes = take(l, steps, linear_code_bytes(4 * (int)state));
    n->code_scales = take(l, steps, sizeof *n->code_scales);
    n->code_sums = take(l, steps, sizeof *n->code_sums);
    n->block_state = state;
    n->block_floats = rows_scratch_floats(state);
    n->blocks = take_floats(l, (size_t)n->threads, n->block_floats);
    n->value_most = take_floats(l, (size_t)n->threads, state);
    n->value_inverses = take(l, state, sizeof *n->value_inverses);
}

static void lay_out(struct net *n, struct layout *l)
{
    const struct whisper_config *c = &n->model->config;
    size_t threads = (size_t)n->threads, layers = (size_t)c->n_text_layer;
    int widest =
        4 * (c->n_audio_state > c->n_text_state ? c->n_audio_state : c->n_text_state);
    lay_out_rows(n, l);
    struct kv *audio = take_caches(l, 1, n->audio_type, c->n_audio_head, c->n_audio_state,
                                   c->n_audio_ctx);
    if (audio)
        n->audio = *audio;
    n->cross = take_caches(l, (size_t)n->max_windows * layers, n->cross_type,
                           c->n_text_head, c->n_text_state, c->n_audio_ctx);
    n->slots = take(l, (size_t)n->max_slots, sizeof *n->slots);
    n->pass = take(l, decoder_pass_bytes(n->max_slots, n->max_rows), 1);
    n->strip_floats =
        linear_strip_floats(widest > 3 * c->n_mels ? widest : 3 * c->n_mels);
    n->strips = take_floats(l, threads, n->strip_floats);
    n->score_stride = larger((size_t)c->n_audio_ctx, (size_t)c->n_text_ctx) + 2 * ROW_PAD;
    n->score_stride = n->score_stride / ROW_PAD * ROW_PAD;
    if (n->score_stride < ATTEND_SCRATCH / ATTENTION_ROWS)
        n->score_stride = ATTEND_SCRATCH / ATTENTION_ROWS;
    n->scores = take_floats(l, threads * ATTENTION_ROWS, n->score_stride);
    n->share_stride = QUANTISED_BYTES((size_t)c->n_audio_ctx) + 64;
    n->shares = take(l, threads * ATTENTION_ROWS, n->share_stride);
    n->ones = take(l, (size_t)c->n_text_state, sizeof *n->ones);
    n->self_at = l->used;
    n->self = take_caches(l, (size_t)n->max_slots * layers, n->self_type, c->n_text_head,
                          c->n_text_state, c->n_text_ctx);
}

static int map_memory(struct net *n, struct err *e)
{
    struct layout l = {0};
    lay_out(n, &l);
    if (l.overflow)
        return err_set(e, ERR_TOO_LARGE, "the model is too large for this machine");
    void *memory = mmap(NULL, l.used, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return err_set(e, ERR_NOMEM, "no memory for the model's scratch: %zu MB",
                       l.used / 1000000);
    /* Wishes; failing costs only speed, and memory. Most of a sequence's cache is never
     * reached: in large pages all of it would be there. */
    size_t whole = n->self_at / PAGE * PAGE;
    madvise(memory, whole, MADV_HUGEPAGE);
    madvise((char *)memory + whole, l.used - whole, MADV_NOHUGEPAGE);
    n->memory = memory;
    n->memory_bytes = l.used;
    l = (struct layout){.base = memory};
    lay_out(n, &l);
    for (int i = 0; i < n->model->config.n_text_state; i++)
        n->ones[i] = 1;
    decoder_pass_init(n);
    return 0;
}

/* ---- checks ------------------------------------------------------------------------ */

static bool within(int value, int least, int most)
{
    return value >= least && value <= most;
}

/* Heads whose size the panels can hold. */
static bool heads_fit(int state, int heads)
{
    return within(state, WEIGHT_PANEL, 1 << 14) && within(heads, 1, state) &&
           state % heads == 0 && state / heads % WEIGHT_PANEL == 0;
}

static int check_model(const struct whisper_config *c, struct err *e)
{
    if (c->n_audio_ctx != WHISPER_WINDOW_FRAMES / 2)
        return err_set(e, ERR_UNSUPPORTED,
                       "the model hears %d frames at once; only models of %d can be run",
                       c->n_audio_ctx, WHISPER_WINDOW_FRAMES / 2);
    if (!heads_fit(c->n_audio_state, c->n_audio_head) ||
        !heads_fit(c->n_text_state, c->n_text_head))
        return err_set(e, ERR_UNSUPPORTED,
                       "the model's attention heads are not a multiple of %d wide",
                       WEIGHT_PANEL);
    if (!within(c->n_audio_layer, 1, WHISPER_MAX_LAYERS) ||
        !within(c->n_text_layer, 1, WHISPER_MAX_LAYERS) ||
        !within(c->n_text_ctx, 8, 1 << 14) || !within(c->n_mels, 1, 1024) ||
        !within(c->n_vocab, 1, 1 << 20))
        return err_set(e, ERR_UNSUPPORTED,
                       "the model's dimensions are far beyond any Whisper model's");
    return 0;
}

static int check_options(const struct net_options *o, struct err *e)
{
    if (!within(o->max_windows, 1, MAX_WINDOWS) || !within(o->max_slots, 1, MAX_SLOTS))
        return err_set(e, ERR_INVALID,
                       "a batch has 1 to %d windows and 1 to %d sequences, not %d and %d",
                       MAX_WINDOWS, MAX_SLOTS, o->max_windows, o->max_slots);
    return 0;
}

/* What a net is like, before any of it is there. */
static void set_shape(struct net *n, const struct whisper_model *m,
                      const struct net_options *options)
{
    n->model = m;
    n->kernels = kernels_choose();
    n->max_windows = options->max_windows;
    n->max_slots = options->max_slots;
    bool whole = options->short_attention && n->kernels->attend;
    n->audio_type =
        whole && m->config.n_audio_state == ATTEND_HEAD * m->config.n_audio_head
            ? WEIGHT_S16
            : WEIGHT_F32;
    n->self_type = options->wide_caches ? WEIGHT_F32 : WEIGHT_F16;
    n->cross_type = whole ? WEIGHT_S8 : n->self_type;
    n->max_rows = (int)larger((size_t)m->config.n_text_ctx, (size_t)n->max_slots);
}

/* ---- the face ---------------------------------------------------------------------- */

int net_bytes(const struct whisper_config *c, const struct net_options *options,
              size_t *whole, size_t *caches, struct err *e)
{
    const struct whisper_model model = {.config = *c};
    struct net n = {.threads =
                        options->threads > 0 ? options->threads : threads_available()};
    struct layout l = {0};
    int status = check_model(c, e);
    if (!status)
        status = check_options(options, e);
    if (status)
        return status;
    set_shape(&n, &model, options);
    lay_out(&n, &l);
    *whole = l.used;
    *caches = l.used - n.self_at;
    return l.overflow
               ? err_set(e, ERR_TOO_LARGE, "the model is too large for this machine")
               : 0;
}

int net_open(struct net **out, const struct whisper_model *m,
             const struct net_options *options, struct err *e)
{
    int status = check_model(&m->config, e);
    if (!status)
        status = check_options(options, e);
    if (status)
        return status;
    struct net *n = mem_array(1, sizeof *n);
    if (!n)
        return err_set(e, ERR_NOMEM, "no memory for the model's scratch");
    set_shape(n, m, options);
    status = pool_new(&n->pool, options->threads, e);
    n->threads = status ? 0 : pool_size(n->pool);
    if (!status)
        status = map_memory(n, e);
    if (status) {
        net_close(n);
        return status;
    }
    *out = n;
    return 0;
}

void net_close(struct net *n)
{
    if (!n)
        return;
    pool_free(n->pool);
    if (n->memory)
        munmap(n->memory, n->memory_bytes);
    free(n);
}

struct pool *net_pool(struct net *n)
{
    return n->pool;
}

void net_set_probe(struct net *n, net_probe_fn probe, void *arg)
{
    n->probe = probe;
    n->probe_arg = arg;
}

void net_set_capture(struct net *n, const struct net_capture *capture)
{
    n->capture = capture;
}

float *net_strip(const struct net *n, int index)
{
    return n->strips + (size_t)index * n->strip_floats;
}

float *net_scores(const struct net *n, int index)
{
    return n->scores + (size_t)index * ATTENTION_ROWS * n->score_stride;
}

char *net_shares(const struct net *n, int index)
{
    return n->shares + (size_t)index * ATTENTION_ROWS * n->share_stride;
}

/* ---- slots ------------------------------------------------------------------------- */

void net_slot_begin(struct net *n, int slot, int window)
{
    n->slots[slot] = (struct slot){.window = window};
}

void net_slot_copy(struct net *n, int to, int from, int same)
{
    if (to == from)
        return;
    int layers = n->model->config.n_text_layer;
    n->slots[to] = n->slots[from];
    for (int i = 0; i < layers; i++)
        kv_copy(&n->self[to * layers + i], &n->self[from * layers + i], same,
                n->slots[from].length);
}

int net_slot_length(const struct net *n, int slot)
{
    return n->slots[slot].length;
}

void net_slot_truncate(struct net *n, int slot, int length)
{
    if (length >= 0 && length < n->slots[slot].length)
        n->slots[slot].length = length;
}
