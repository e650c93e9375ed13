/* The net against golden tensors of the reference model (golden/README.md): mel, stem,
 * every encoder block, the encoder's output, first logits, and a greedy decoding token by
 * token through the caches. For three recordings, two models and every instruction set
 * that this machine has.
 *
 * Two bounds: the root mean square of the difference over that of the golden tensor, and
 * its largest value over the golden's largest. What is asked of the engine is 1e-3; what
 * single precision gives is some 1e-6, so the first bound is set close to that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/session.h"

#include <math.h>
#include <unistd.h>

#define WIDE_BOUND      3e-5 /* f32 throughout */
#define COMPACT_BOUND   1e-3 /* logits, when the decoder's keys and values are f16 */
#define MAX_BOUND       1e-3
#define SHORT_BOUND     8e-2 /* in 8 bits; whisper.cpp in f16: 1e-2 to 9e-2 */
#define SHORT_MAX_BOUND 0.12
#define MAX_ROWS        64

/* Instrumented kernels take ten times as long: one recording at one level then stands for
 * all (tests/kernels has every level under the sanitizers). */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INSTRUMENTED true
#else
#define INSTRUMENTED false
#endif

static char golden_folder[400], models_folder[400];

/* ---- reading ----------------------------------------------------------------------- */

struct golden {
    struct buf index, data;
};

struct tensor {
    int rows, cols;
    int row[MAX_ROWS];   /* where it is in the whole tensor */
    const float *values; /* borrowed [rows][cols] */
};

static void read_file(const char *path, struct buf *out)
{
    struct err e = {0};
    buf_init(out, 1 << 24);
    if (fs_read(path, out, &e))
        fail_msg("%s", e.message);
}

static void golden_open(struct golden *g, const char *recording, const char *model)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s.%s/index.tsv", golden_folder, recording, model);
    read_file(path, &g->index);
    snprintf(path, sizeof path, "%s/%s.%s/data.bin", golden_folder, recording, model);
    read_file(path, &g->data);
}

static void golden_close(struct golden *g)
{
    buf_release(&g->index);
    buf_release(&g->data);
}

/* Fails the test when there is no tensor of that name. */
static struct tensor golden_find(const struct golden *g, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = buf_cstr(&g->index); *line; line = strchr(line, '\n') + 1) {
        if (strncmp(line, name, length) != 0 || line[length] != '\t')
            continue;
        struct tensor t;
        char *at = (char *)line + length;
        t.rows = (int)strtol(at, &at, 10);
        t.cols = (int)strtol(at, &at, 10);
        assert_in_range(t.rows, 1, MAX_ROWS);
        for (int i = 0; i < t.rows; i++)
            t.row[i] = (int)strtol(at + 1, &at, 10);
        size_t offset = strtoul(at, NULL, 10);
        assert_in_range(offset + (size_t)t.rows * (size_t)t.cols * 4, 4, g->data.length);
        t.values = (const float *)(const void *)(g->data.data + offset);
        return t;
    }
    fail_msg("no golden tensor %s", name);
    return (struct tensor){0};
}

/* 16 kHz, mono, 16 bits, behind a header of 44 bytes. */
static float *read_wav(const char *recording, size_t *count)
{
    char path[600];
    struct buf b;
    snprintf(path, sizeof path, "%s/%s.wav", golden_folder, recording);
    read_file(path, &b);
    assert_true(b.length > 44);
    *count = (b.length - 44) / 2;
    float *samples = mem_array(*count, sizeof *samples);
    assert_non_null(samples);
    for (size_t i = 0; i < *count; i++) {
        int16_t value;
        memcpy(&value, b.data + 44 + 2 * i, 2);
        samples[i] = (float)value / 32768.0f;
    }
    buf_release(&b);
    return samples;
}

/* ---- comparing --------------------------------------------------------------------- */

static void compare(const struct golden *g, const char *name, const float *ours, int rows,
                    int cols, double rms_bound, double max_bound)
{
    struct tensor t = golden_find(g, name);
    assert_int_equal(t.cols, cols);
    double squares = 0, wanted = 0, most = 0, largest = 0;
    for (int r = 0; r < t.rows; r++) {
        assert_in_range(t.row[r], 0, rows - 1);
        const float *a = ours + (size_t)t.row[r] * (size_t)cols;
        const float *b = t.values + (size_t)r * (size_t)cols;
        for (int i = 0; i < cols; i++) {
            double d = fabs((double)a[i] - (double)b[i]);
            squares += d * d;
            wanted += (double)b[i] * (double)b[i];
            most = isnan(d) || d > most ? d : most;
            largest = fabs((double)b[i]) > largest ? fabs((double)b[i]) : largest;
        }
    }
    double rms = sqrt(squares / wanted), relative = most / largest;
    print_message("    %-10s rms %.1e  max %.1e\n", name, rms, relative);
    assert_true(rms <= rms_bound);
    assert_true(relative <= max_bound);
}

static void probe(void *arg, int layer, const float *x, int rows, int cols)
{
    char name[32];
    snprintf(name, sizeof name, layer < 0 ? "stem" : "block_%d", layer);
    char line[40];
    snprintf(line, sizeof line, "%s\t", name);
    const struct golden *g = arg;
    /* The layer after the last block is the norm. */
    compare(g, strstr(buf_cstr(&g->index), line) ? name : "ln_post", x, rows, cols,
            WIDE_BOUND, MAX_BOUND);
}

/* ---- one recording, one model, one level ------------------------------------------- */

enum precision {
    EXACT,
    COMPACT, /* the decoder's caches in f16 */
    SHORT,   /* weights and inputs in 8 bits, the encoder's attention in 16, too */
};

static const char *const precision_names[] = {"f32", "f16 caches", "8 bits"};

struct run {
    struct golden golden;
    struct net *net;
    const struct whisper_config *config;
    float *logits; /* owned [vocabulary] */
    enum precision precision;
};

/* Appends the tokens to slot 0; the logits after the last are in r->logits. */
static void step(struct run *r, const int32_t *tokens, int n)
{
    struct net_input in = {0, tokens, n, n - 1};
    struct err e = {0};
    if (net_decode(r->net, &in, 1, r->logits, &e))
        fail_msg("%s", e.message);
}

static int32_t best_token(const struct run *r)
{
    int best = 0;
    for (int i = 1; i < r->config->n_vocab; i++)
        best = r->logits[i] > r->logits[best] ? i : best;
    return best;
}

/* Of the logits: root mean square and greatest. */
static const double bounds[][2] = {
    {WIDE_BOUND, MAX_BOUND}, {COMPACT_BOUND, MAX_BOUND}, {SHORT_BOUND, SHORT_MAX_BOUND}};

static void check_decoder(struct run *r)
{
    struct tensor sot = golden_find(&r->golden, "sot_sequence");
    int32_t tokens[8];
    assert_in_range(sot.cols, 1, 8);
    for (int i = 0; i < sot.cols; i++)
        tokens[i] = (int32_t)sot.values[i];
    net_slot_begin(r->net, 0, 0);
    step(r, tokens, sot.cols);
    struct tensor t = golden_find(&r->golden, "logits");
    assert_int_equal(t.row[0], sot.cols - 1);
    /* The golden row is the last; ours is the only one. */
    compare(&r->golden, "logits", r->logits - (ptrdiff_t)t.row[0] * r->config->n_vocab,
            sot.cols, t.cols, bounds[r->precision][0], bounds[r->precision][1]);
}

/* <|notimestamps|> and then always the best token: every one must be the golden one. */
static void check_greedy(struct run *r)
{
    struct tensor ids = golden_find(&r->golden, "greedy_ids");
    struct tensor values = golden_find(&r->golden, "greedy_logits");
    /* <|nospeech|> and <|notimestamps|> follow 4 tokens after the languages. */
    int32_t token = r->config->multilingual ? 50259 + r->config->n_languages + 5 : 50362;
    for (int i = 0; i < ids.cols; i++) {
        step(r, &token, 1);
        token = best_token(r);
        assert_int_equal(token, (int32_t)ids.values[i]);
        double d = fabs((double)r->logits[token] - (double)values.values[i]);
        assert_true(d <= 1e-3 * fabs((double)values.values[i]));
    }
}

static void check_recording(const struct whisper_model *m, const char *recording,
                            const char *model, enum precision p)
{
    struct run r = {.config = &m->config, .precision = p};
    struct err e = {0};
    struct net_options options = {.max_windows = 1,
                                  .max_slots = 1,
                                  .wide_caches = p == EXACT,
                                  .short_attention = p == SHORT};
    struct mel *mel;
    size_t count;
    float *samples = read_wav(recording, &count);
    golden_open(&r.golden, recording, model);
    if (net_open(&r.net, m, &options, &e) || mel_open(&mel, m, net_pool(r.net), &e) ||
        mel_begin(mel, samples, count, &e))
        fail_msg("%s", e.message);
    float *features = mem_array(WHISPER_WINDOW_FRAMES * 80, sizeof *features);
    r.logits = mem_array((size_t)r.config->n_vocab, sizeof *r.logits);
    assert_true(features && r.logits);
    mel_window(mel, 0, features);
    compare(&r.golden, "mel", features, WHISPER_WINDOW_FRAMES, r.config->n_mels,
            WIDE_BOUND, MAX_BOUND);
    if (p == EXACT)
        net_set_probe(r.net, probe, &r.golden);
    net_encode(r.net, 0, (const float *const *)&features, 1);
    check_decoder(&r);
    if (p != SHORT) /* where two tokens are nearly as good, 8 bits may choose the other */
        check_greedy(&r);
    mel_close(mel);
    net_close(r.net);
    golden_close(&r.golden);
    free(samples);
    free(features);
    free(r.logits);
}

static void check_level(const struct whisper_model *m, const char *model,
                        enum precision p)
{
    static const char *const recordings[] = {"noisy", "telephone", "clean"};
    for (size_t i = 0; i < (INSTRUMENTED ? 1 : ARRAY_LENGTH(recordings)); i++) {
        print_message("  %s, %s, %s, %s\n", kernels_choose()->name, model, recordings[i],
                      precision_names[p]);
        check_recording(m, recordings[i], model, p);
    }
}

static void check_model(const char *model)
{
    char path[600];
    struct err e = {0};
    struct whisper_model *m, *short_m;
    snprintf(path, sizeof path, "%s/ggml-%s.bin", models_folder, model);
    if (access(path, R_OK)) {
        print_message("SKIPPED: %s is not there (WT_TEST_MODELS names the folder)\n",
                      path);
        skip();
    }
    if (whisper_model_load(&m, path, WHISPER_WEIGHTS_AS_GIVEN, &e) ||
        whisper_model_load(&short_m, path, WHISPER_WEIGHTS_8_BITS, &e))
        fail_msg("%s", e.message);
    for (int level = 0; kernels_level(level); level++) {
        bool last = !kernels_level(level + 1);
        if (INSTRUMENTED && !last)
            continue;
        setenv("WT_CPU_LEVEL", kernels_level(level)->name, 1);
        check_level(m, model, EXACT);
        if (last) /* the fastest, with compact caches too */
            check_level(m, model, COMPACT);
        if (level > 0) /* the plain one takes minutes */
            check_level(short_m, model, SHORT);
    }
    whisper_model_free(m);
    whisper_model_free(short_m);
}

static void tiny_agrees(void **state)
{
    (void)state;
    check_model("tiny");
}

static void base_en_agrees(void **state)
{
    (void)state;
    check_model("base.en");
}

int main(void)
{
    const char *root = getenv("WT_SOURCE_ROOT"), *models = getenv("WT_TEST_MODELS");
    snprintf(golden_folder, sizeof golden_folder, "%s/tests/engine/golden",
             root ? root : ".");
    if (models)
        snprintf(models_folder, sizeof models_folder, "%s", models);
    else
        snprintf(models_folder, sizeof models_folder, "%s/models", root ? root : ".");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_agrees),
        cmocka_unit_test(base_en_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
