/* How fast the engine's parts are on this machine, for one model:
 *
 *     engine-bench MODEL [THREADS [RUNS [f32 | mel]]]
 *
 * prints lines `name<TAB>value<TAB>unit`. Each value is the median of RUNS (5). The audio
 * is noise and the tokens are fixed: neither changes how long anything takes. f32: the
 * exact way; mel: the features alone.
 * WT_CPU_LEVEL chooses the instruction set, as everywhere. */
#include "base/clock.h"
#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/session.h"
#include "engine/threads.h"

#define SAMPLES  (30 * WHISPER_SAMPLE_RATE)
#define TOKENS   64 /* decoder steps of a run */
#define MAX_RUNS 101
#define BATCH    8

struct bench {
    const struct whisper_model *model;
    struct net *net;
    struct mel *mel;
    float *samples, *features, *logits; /* owned */
    int runs;
    bool exact;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void print(const char *name, double value, const char *unit)
{
    printf("%s\t%.4g\t%s\n", name, value, unit);
    fflush(stdout);
}

/* Milliseconds, median over the runs. */
static void measure(struct bench *b, const char *name, double (*run)(struct bench *b))
{
    double ms[MAX_RUNS];
    run(b); /* the first touches memory */
    for (int i = 0; i < b->runs; i++)
        ms[i] = run(b);
    print(name, median(ms, b->runs), "ms");
}

static double since_ms(int64_t start_ns)
{
    return (double)(clock_monotonic_ns() - start_ns) / 1e6;
}

static double run_mel_begin(struct bench *b)
{
    int64_t start = clock_monotonic_ns();
    (void)mel_begin(b->mel, b->samples, SAMPLES, NULL);
    return since_ms(start);
}

static double run_mel_window(struct bench *b)
{
    int64_t start = clock_monotonic_ns();
    mel_window(b->mel, 0, b->features);
    return since_ms(start);
}

static double run_encoder(struct bench *b)
{
    int64_t start = clock_monotonic_ns();
    net_encode(b->net, 0, (const float *const *)&b->features, 1);
    return since_ms(start);
}

/* Per token of every sequence, over TOKENS steps from an empty cache. */
static double run_decoder(struct bench *b, int sequences)
{
    int32_t tokens[BATCH];
    struct net_input inputs[BATCH];
    for (int s = 0; s < sequences; s++) {
        net_slot_begin(b->net, s, 0);
        inputs[s] = (struct net_input){s, &tokens[s], 1, 0};
    }
    int64_t start = clock_monotonic_ns();
    for (int t = 0; t < TOKENS; t++) {
        for (int s = 0; s < sequences; s++)
            tokens[s] = 1000 + 37 * t + s;
        if (net_decode(b->net, inputs, sequences, b->logits, NULL))
            return -1;
    }
    return since_ms(start) / TOKENS / sequences;
}

static double run_decoder_1(struct bench *b)
{
    return run_decoder(b, 1);
}

static double run_decoder_5(struct bench *b)
{
    return run_decoder(b, 5);
}

static double run_decoder_8(struct bench *b)
{
    return run_decoder(b, 8);
}

/* A prompt of 200 tokens in one pass, no logits but the last. */
static double run_prompt(struct bench *b)
{
    int32_t tokens[200];
    for (int t = 0; t < 200; t++)
        tokens[t] = 1000 + 37 * t;
    net_slot_begin(b->net, 0, 0);
    struct net_input in = {0, tokens, 200, 199};
    int64_t start = clock_monotonic_ns();
    (void)net_decode(b->net, &in, 1, b->logits, NULL);
    return since_ms(start);
}

/* ---- one thread's matrix products, at every level -----------------------------------
 */

static void print_gemm(const struct bench *b, const struct kernels *k, int m, bool half)
{
    enum { K = 512, N = 128, REPEAT = 20 };
    float *x = mem_aligned((size_t)m * K, sizeof *x);
    float *y = mem_aligned((size_t)m * N, sizeof *y);
    void *w = mem_aligned((size_t)K * N, sizeof(float));
    if (x && y && w) {
        struct gemm g = {x, K, w, (size_t)K * 16, NULL, y, N, m, K, N, 0};
        double rate[MAX_RUNS];
        for (int i = 0; i < b->runs; i++) {
            int64_t start = clock_monotonic_ns();
            for (int r = 0; r < REPEAT; r++)
                (half ? k->gemm_f16 : k->gemm_f32)(&g);
            rate[i] =
                2.0 * m * K * N * REPEAT / (double)(clock_monotonic_ns() - start + 1);
        }
        char name[64];
        snprintf(name, sizeof name, "gemm_%s_%s_m%d", k->name, half ? "f16" : "f32", m);
        print(name, median(rate, b->runs), "GFLOP/s");
    }
    free(x);
    free(y);
    free(w);
}

static void print_s8(const struct bench *b, const struct kernels *k, int m)
{
    enum { K = 512, N = 128, REPEAT = 20, ROW = QUANTISED_BYTES(K) + 64 };
    float *x = mem_aligned((size_t)m * K, sizeof *x);
    float *y = mem_aligned((size_t)m * N, sizeof *y);
    float *scales = mem_aligned((size_t)m + N, sizeof *scales);
    int32_t *sums = mem_aligned((size_t)m, sizeof *sums);
    uint8_t *w = mem_aligned((size_t)K * N, 1), *codes = mem_aligned((size_t)m, ROW);
    if (x && y && w && codes && scales && sums) {
        const struct gemm_s8 g = {codes, scales, sums, ROW, w, K * 16, scales,
                                  NULL,  y,      N,    m,   K, N,      0};
        double rate[MAX_RUNS];
        for (int i = 0; i < m; i++)
            k->quantise_8(x + (ptrdiff_t)i * K, K, 127, codes + (ptrdiff_t)i * ROW,
                          scales + i, sums + i);
        for (int i = 0; i < b->runs; i++) {
            int64_t start = clock_monotonic_ns();
            for (int r = 0; r < REPEAT; r++)
                k->gemm_s8(&g);
            rate[i] =
                2.0 * m * K * N * REPEAT / (double)(clock_monotonic_ns() - start + 1);
        }
        char name[64];
        snprintf(name, sizeof name, "gemm_%s_s8_m%d", k->name, m);
        print(name, median(rate, b->runs), "GOP/s");
    }
    free(x);
    free(y);
    free(scales);
    free(sums);
    free(w);
    free(codes);
}

static void print_attend(const struct bench *b, const struct kernels *k)
{
    enum { KEYS = 1500, ROWS = ATTEND_ROWS, HEAD = ATTEND_HEAD, REPEAT = 20 };
    float *query = mem_aligned(ROWS * HEAD, sizeof *query);
    float *out = mem_aligned(ROWS * HEAD, sizeof *out);
    float *scratch = mem_aligned(ATTEND_SCRATCH, sizeof *scratch);
    float *scales = mem_aligned(KEYS + 4, sizeof *scales);
    int16_t *kept = mem_aligned((KEYS + 4) * HEAD, sizeof *kept);
    if (k->attend && query && out && scratch && scales && kept) {
        const struct attend a = {query, HEAD, kept, kept, scales, scales, (KEYS + 4) * 16,
                                 out,   HEAD, ROWS, KEYS, 0.125f, scratch};
        double rate[MAX_RUNS];
        for (int i = 0; i < b->runs; i++) {
            int64_t start = clock_monotonic_ns();
            for (int r = 0; r < REPEAT; r++)
                k->attend(&a);
            rate[i] = 4.0 * ROWS * KEYS * HEAD * REPEAT /
                      (double)(clock_monotonic_ns() - start + 1);
        }
        char name[64];
        snprintf(name, sizeof name, "attend_%s", k->name);
        print(name, median(rate, b->runs), "GOP/s");
    }
    free(query);
    free(out);
    free(scratch);
    free(scales);
    free(kept);
}

static void print_kernels(const struct bench *b)
{
    static const int rows[] = {1, 8, 252};
    const struct kernels *k;
    for (int level = 0; (k = kernels_level(level)); level++) {
        for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
            print_gemm(b, k, rows[i], false);
            print_gemm(b, k, rows[i], true);
            print_s8(b, k, rows[i]);
        }
        print_attend(b, k);
    }
}

static int open_bench(struct bench *b, int threads, struct err *e)
{
    struct net_options o = {.threads = threads,
                            .max_windows = 1,
                            .max_slots = BATCH,
                            .short_attention = !b->exact,
                            .wide_caches = b->exact};
    int status = net_open(&b->net, b->model, &o, e);
    if (!status)
        status = mel_open(&b->mel, b->model, net_pool(b->net), e);
    if (status)
        return status;
    size_t vocab = (size_t)b->model->config.n_vocab;
    b->samples = mem_array(SAMPLES, sizeof *b->samples);
    b->logits = mem_array(vocab * BATCH, sizeof *b->logits);
    b->features =
        mem_array((size_t)WHISPER_WINDOW_FRAMES * (size_t)b->model->config.n_mels,
                  sizeof *b->features);
    if (!b->samples || !b->logits || !b->features)
        return err_set(e, ERR_NOMEM, "no memory for the audio");
    uint32_t state = 1;
    for (int i = 0; i < SAMPLES; i++) {
        state = state * 1664525 + 1013904223;
        b->samples[i] = (float)(int32_t)state / 2147483648.0f * 0.3f;
    }
    return 0;
}

static void close_bench(struct bench *b)
{
    mel_close(b->mel);
    net_close(b->net);
    free(b->samples);
    free(b->logits);
    free(b->features);
}

static int number(const char *text, int least, int most, int otherwise)
{
    char *end;
    long value = text ? strtol(text, &end, 10) : otherwise;
    return value >= least && value <= most ? (int)value : otherwise;
}

static void print_network(struct bench *b)
{
    measure(b, "encoder_ms", run_encoder);
    measure(b, "decoder_ms_token", run_decoder_1);
    measure(b, "decoder_ms_token_batch", run_decoder_5);
    measure(b, "decoder_ms_token_batch8", run_decoder_8);
    measure(b, "prompt_200_ms", run_prompt);
    print_kernels(b);
}

int main(int argc, char **argv)
{
    struct whisper_model *model = NULL;
    struct bench b = {0};
    struct err e = {0};
    if (argc < 2 || argc > 5) {
        fputs("usage: engine-bench MODEL [THREADS [RUNS [f32 | mel]]]\n", stderr);
        return 2;
    }
    b.exact = argc > 4 && strcmp(argv[4], "f32") == 0;
    b.runs = number(argc > 3 ? argv[3] : NULL, 1, MAX_RUNS, 5);
    int status = whisper_model_load(
        &model, argv[1], b.exact ? WHISPER_WEIGHTS_AS_GIVEN : WHISPER_WEIGHTS_FASTEST,
        &e);
    b.model = model;
    if (!status)
        status = open_bench(&b, number(argc > 2 ? argv[2] : NULL, 0, 1024, 0), &e);
    if (status) {
        fprintf(stderr, "engine-bench: %s\n", e.message);
    } else {
        print("threads", pool_size(net_pool(b.net)), "threads");
        measure(&b, "mel_begin_ms", run_mel_begin);
        measure(&b, "mel_window_ms", run_mel_window);
        if (argc <= 4 || strcmp(argv[4], "mel") != 0)
            print_network(&b);
    }
    close_bench(&b);
    whisper_model_free(model);
    return status ? 1 : 0;
}
