#include "engine/vad.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/threads.h"
#include "engine/vad_weights.h"

#include <math.h>

#define MAX_FILE_BYTES ((size_t)4 << 20) /* the published one has 1.3 MB */

#define CONTEXT        64  /* samples of the frame before */
#define SPAN           640 /* context, frame, and 64 samples that mirror its end */
#define WINDOW         256 /* of the spectrum */
#define HOP            128
#define STEPS          4 /* spectra of a frame */
#define BINS           129
#define STATE          128
#define GATES          512
#define CHANNELS       128 /* of the first convolution; then 64, 64, 128 */

#define BLOCK          32 /* frames that one thread takes at once: its scratch fits a cache */
#define CHUNK          256 /* that the LSTM goes through while the next are prepared */

struct vad {
    const struct kernels *kernels; /* borrowed, static */
    /* Panels of 16 outputs, as the kernels read them (engine/model.h), owned. */
    float *stft;      /* [258][256] */
    float *conv[4];   /* [out][tap][in]; of the last one only the middle tap, as it sees
                       * one step between two of padding */
    float *input;     /* [512][128] */
    float *recurrent; /* [512][128] */
    /* Owned, as they are. */
    float *bias[4];
    float *gate_bias; /* [512]: of input and state together */
    float *output;    /* [128] */
    float output_bias;
};

/* ---- opening --------------------------------------------------------------------- */

/* Panels of the matrix whose element (row, column) is at
 * data[row * row_step + column * column_step]. */
static float *pack(const float *data, int rows, int cols, int row_step, int column_step)
{
    int panels = (rows + KERNEL_LANES - 1) / KERNEL_LANES;
    float *out = mem_aligned((size_t)panels * (size_t)cols * KERNEL_LANES, sizeof *out);
    for (int r = 0; out && r < rows; r++)
        for (int c = 0; c < cols; c++)
            out[((size_t)(r / KERNEL_LANES) * (size_t)cols + (size_t)c) * KERNEL_LANES +
                (size_t)(r % KERNEL_LANES)] = data[r * row_step + c * column_step];
    return out;
}

/* [out][in][3] becomes a matrix with columns [tap][in]. */
static float *pack_conv(const float *data, int out, int in)
{
    float *turned = mem_array((size_t)(out * in * 3), sizeof *turned);
    for (int o = 0; turned && o < out; o++)
        for (int tap = 0; tap < 3; tap++)
            for (int i = 0; i < in; i++)
                turned[(o * 3 + tap) * in + i] = data[(o * in + i) * 3 + tap];
    float *panels = turned ? pack(turned, out, in * 3, in * 3, 1) : NULL;
    free(turned);
    return panels;
}

static float *take(struct vad_weights *w, enum vad_tensor which)
{
    float *tensor = w->tensors[which];
    w->tensors[which] = NULL;
    return tensor;
}

static int pack_all(struct vad *v, struct vad_weights *w)
{
    float *const *t = w->tensors;
    v->stft = pack(t[VAD_STFT], 2 * BINS, WINDOW, WINDOW, 1);
    v->conv[0] = pack_conv(t[VAD_CONV0], 128, BINS);
    v->conv[1] = pack_conv(t[VAD_CONV1], 64, 128);
    v->conv[2] = pack_conv(t[VAD_CONV2], 64, 64);
    v->conv[3] = pack(t[VAD_CONV3] + 1, 128, 64, 64 * 3, 3);
    v->input = pack(t[VAD_INPUT], GATES, STATE, STATE, 1);
    v->recurrent = pack(t[VAD_RECURRENT], GATES, STATE, STATE, 1);
    for (int i = 0; i < 4; i++)
        v->bias[i] = take(w, VAD_BIAS0 + (unsigned)i);
    for (int i = 0; i < GATES; i++)
        t[VAD_INPUT_BIAS][i] += t[VAD_RECURRENT_BIAS][i];
    v->gate_bias = take(w, VAD_INPUT_BIAS);
    v->output = take(w, VAD_OUTPUT);
    v->output_bias = t[VAD_OUTPUT_BIAS][0];
    bool whole = v->stft && v->conv[0] && v->conv[1] && v->conv[2] && v->conv[3] &&
                 v->input && v->recurrent;
    return whole ? 0 : ERR_NOMEM;
}

static int read_weights(struct vad_weights *w, const char *path, struct err *e)
{
    struct buf file;
    buf_init(&file, MAX_FILE_BYTES);
    int rc = fs_read(path, &file, e);
    if (rc == 0)
        rc = vad_weights_read(w, buf_cstr(&file), file.length, e);
    if (rc == ERR_CORRUPT)
        err_prefix(e, "the voice detector %s is damaged", path);
    buf_release(&file);
    return rc;
}

int vad_open(struct vad **out, const char *path, struct err *e)
{
    struct vad_weights weights;
    *out = NULL;
    int rc = read_weights(&weights, path, e);
    if (rc < 0)
        return rc;
    struct vad *v = calloc(1, sizeof *v);
    rc = v ? pack_all(v, &weights) : ERR_NOMEM;
    vad_weights_release(&weights);
    if (rc < 0) {
        vad_close(v);
        return err_set(e, rc, "no memory is left for the voice detector");
    }
    v->kernels = kernels_choose();
    *out = v;
    return 0;
}

void vad_close(struct vad *v)
{
    if (!v)
        return;
    for (int i = 0; i < 4; i++) {
        free(v->conv[i]);
        free(v->bias[i]);
    }
    free(v->stft);
    free(v->input);
    free(v->recurrent);
    free(v->gate_bias);
    free(v->output);
    free(v);
}

size_t vad_count(size_t n_samples)
{
    return n_samples / VAD_SAMPLES + (n_samples % VAD_SAMPLES != 0);
}

/* ---- what does not depend on the frames before ----------------------------------- */

/* One thread's. The steps of a frame lie between two of zeros: the padding. */
struct scratch {
    float samples[BLOCK][SPAN];
    float spectra[BLOCK][STEPS][2 * BINS];
    float magnitudes[BLOCK][STEPS + 2][BINS];
    float conv0[BLOCK][STEPS + 2][CHANNELS];
    float conv1[BLOCK][2 + 2][64];
    float conv2[BLOCK][64];
    float conv3[BLOCK][CHANNELS];
};

struct run {
    const struct vad *v;
    const float *samples; /* borrowed [n_samples] */
    size_t n_samples;
    float gain;
    size_t first;            /* frame of the chunk at hand */
    int count;               /* frames of it */
    struct scratch *scratch; /* owned [threads] */
    float *gates;            /* of the chunk at hand, [CHUNK][GATES] */

    /* The chunk before it, which the LSTM goes through at the same time. */
    struct memory *memory;
    float *gates_before; /* [CHUNK][GATES] */
    int count_before;
    float *out_before; /* its probabilities */
};

static float sample_at(const struct run *r, size_t at)
{
    float x = at < r->n_samples ? r->samples[at] * r->gain : 0;
    return x >= -1 && x <= 1 ? x : x > 1 ? 1 : x < -1 ? -1 : 0;
}

/* A frame's context, its samples, and the last 64 of them (but the very last) mirrored.
 */
static void take_samples(const struct run *r, size_t frame, float out[SPAN])
{
    size_t at = frame * VAD_SAMPLES;
    for (size_t i = 0; i < CONTEXT; i++)
        out[i] = frame ? sample_at(r, at - CONTEXT + i) : 0;
    for (size_t i = 0; i < VAD_SAMPLES; i++)
        out[CONTEXT + i] = sample_at(r, at + i);
    for (size_t i = 0; i < SPAN - CONTEXT - VAD_SAMPLES; i++)
        out[CONTEXT + VAD_SAMPLES + i] = out[CONTEXT + VAD_SAMPLES - 2 - i];
}

/* y[m][n] = x[m][k] Wᵀ + bias. */
static void product(const struct vad *v, const float *w, const float *bias,
                    const float *x, size_t x_stride, int m, int k, float *y,
                    size_t y_stride, int n)
{
    struct gemm g = {.x = x,
                     .x_stride = x_stride,
                     .w = w,
                     .w_stride = (size_t)k * KERNEL_LANES,
                     .bias = bias,
                     .y = y,
                     .y_stride = y_stride,
                     .m = m,
                     .k = k,
                     .n = n};
    v->kernels->gemm_f32(&g);
}

static void relu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > 0 ? x[i] : 0;
}

static void spectra(const struct vad *v, struct scratch *s, int frames)
{
    for (int t = 0; t < STEPS; t++)
        product(v, v->stft, NULL, &s->samples[0][t * HOP], SPAN, frames, WINDOW,
                s->spectra[0][t], sizeof s->spectra[0] / sizeof(float), 2 * BINS);
    for (int f = 0; f < frames; f++)
        for (int t = 0; t < STEPS; t++)
            for (int i = 0; i < BINS; i++) {
                float re = s->spectra[f][t][i], im = s->spectra[f][t][BINS + i];
                s->magnitudes[f][t + 1][i] = sqrtf(re * re + im * im);
            }
}

static void convolutions(const struct vad *v, struct scratch *s, int frames)
{
    for (int t = 0; t < STEPS; t++)
        product(v, v->conv[0], v->bias[0], s->magnitudes[0][t],
                sizeof s->magnitudes[0] / sizeof(float), frames, 3 * BINS,
                s->conv0[0][t + 1], sizeof s->conv0[0] / sizeof(float), 128);
    for (int f = 0; f < frames; f++)
        relu(s->conv0[f][1], (size_t)STEPS * CHANNELS);
    for (int t = 0; t < 2; t++)
        product(v, v->conv[1], v->bias[1], s->conv0[0][2 * t],
                sizeof s->conv0[0] / sizeof(float), frames, 3 * 128, s->conv1[0][t + 1],
                sizeof s->conv1[0] / sizeof(float), 64);
    for (int f = 0; f < frames; f++)
        relu(s->conv1[f][1], (size_t)2 * 64);
    product(v, v->conv[2], v->bias[2], s->conv1[0][0], sizeof s->conv1[0] / sizeof(float),
            frames, 3 * 64, s->conv2[0], 64, 64);
    relu(s->conv2[0], (size_t)frames * 64);
    product(v, v->conv[3], v->bias[3], s->conv2[0], 64, frames, 64, s->conv3[0], 128,
            128);
    relu(s->conv3[0], (size_t)frames * 128);
}

static void block_task(const struct run *r, int task, int thread)
{
    struct scratch *s = &r->scratch[thread];
    int begin = task * BLOCK;
    int frames = r->count - begin < BLOCK ? r->count - begin : BLOCK;
    for (int f = 0; f < frames; f++)
        take_samples(r, r->first + (size_t)(begin + f), s->samples[f]);
    spectra(r->v, s, frames);
    convolutions(r->v, s, frames);
    product(r->v, r->v->input, r->v->gate_bias, s->conv3[0], 128, frames, STATE,
            r->gates + (size_t)begin * GATES, GATES, GATES);
}

/* ---- what does: the LSTM --------------------------------------------------------- */

struct memory {
    float hidden[STATE], cell[STATE];
};

/* One frame. gates[512]: what its input gives to the input gate, the forget gate, the
 * candidate and the output gate. */
static float step(const struct vad *v, struct memory *m, float *gates)
{
    struct gemm g = {.x = m->hidden,
                     .x_stride = STATE,
                     .w = v->recurrent,
                     .w_stride = (size_t)STATE * KERNEL_LANES,
                     .y = gates,
                     .y_stride = GATES,
                     .m = 1,
                     .k = STATE,
                     .n = GATES,
                     .flags = GEMM_ADD};
    v->kernels->gemm_f32(&g);
    v->kernels->lstm(m->hidden, m->cell, gates, STATE);
    float sum = v->output_bias;
    for (int i = 0; i < STATE; i++)
        if (m->hidden[i] > 0)
            sum += m->hidden[i] * v->output[i];
    return 1 / (1 + expf(-sum));
}

/* ---- the whole ------------------------------------------------------------------- */

/* Task 0 is the LSTM, which goes step by step; the others are blocks of the chunk behind
 * it, which keep the other threads busy. */
static void chunk_task(void *arg, int task, int thread)
{
    const struct run *r = arg;
    if (task > 0) {
        block_task(r, task - 1, thread);
        return;
    }
    for (int i = 0; i < r->count_before; i++)
        r->out_before[i] = step(r->v, r->memory, r->gates_before + (size_t)i * GATES);
}

static void run_chunk(struct run *r, struct pool *pool)
{
    int tasks = 1 + (r->count + BLOCK - 1) / BLOCK;
    if (pool)
        pool_each(pool, tasks, chunk_task, r);
    else
        for (int i = 0; i < tasks; i++)
            chunk_task(r, i, 0);
}

/* The chunk at hand becomes the one before. */
static void pass_on(struct run *r, float *out)
{
    float *free_gates = r->gates_before;
    r->gates_before = r->gates;
    r->gates = free_gates;
    r->count_before = r->count;
    r->out_before = out;
    r->count = 0;
}

static int run_all(struct run *r, struct pool *pool, float *out,
                   bool (*cancelled)(void *arg), void *arg, struct err *e)
{
    struct memory m = {0};
    size_t n = vad_count(r->n_samples);
    r->memory = &m;
    for (r->first = 0; r->first < n; r->first += CHUNK) {
        if (cancelled && cancelled(arg))
            return err_set(e, ERR_CANCELLED, "the transcription was cancelled");
        r->count = n - r->first < CHUNK ? (int)(n - r->first) : CHUNK;
        run_chunk(r, pool);
        pass_on(r, out + r->first);
    }
    run_chunk(r, pool);
    return 0;
}

int vad_run(const struct vad *v, struct pool *pool, const float *samples,
            size_t n_samples, float gain, float *probabilities,
            bool (*cancelled)(void *arg), void *arg, struct err *e)
{
    struct run r = {.v = v, .samples = samples, .n_samples = n_samples, .gain = gain};
    size_t threads = pool ? (size_t)pool_size(pool) : 1;
    r.scratch = mem_aligned(threads, sizeof *r.scratch);
    float *gates = mem_aligned(2 * (size_t)CHUNK * GATES, sizeof *gates);
    r.gates = gates;
    r.gates_before = gates ? gates + (size_t)CHUNK * GATES : NULL;
    int rc = r.scratch && gates
                 ? run_all(&r, pool, probabilities, cancelled, arg, e)
                 : err_set(e, ERR_NOMEM, "no memory is left for the voice detector");
    free(r.scratch);
    free(gates);
    return rc;
}
