/* Windows side by side with real weights: what comes out for one does not depend on the
 * others, on the threads or on the place it has; and a beam finds what is more probable
 * than what greed finds. Needs ggml-tiny.bin in $WT_TEST_MODELS, or models/; the
 * recordings are those of golden/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/search.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* An instrumented build takes many times as long: it hears two windows, to see that the
 * memory is right; the others hear all. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INSTRUMENTED true
#else
#define INSTRUMENTED false
#endif

enum { WINDOWS = 4, MOST = 448 };

static char golden_folder[400], models_folder[400];
static struct whisper_model *model;
static float *features[WINDOWS]; /* owned [3000][80] */

/* What came out for one window. */
struct heard {
    int32_t tokens[MOST];
    float logprobs[MOST];
    size_t count;
    float avg_logprob, no_speech_prob;
    float languages[100];
    float encoded; /* a sum over the encoder's output */
};

/* ---- counting ---------------------------------------------------------------------- */

static atomic_bool counting;
static atomic_int allocations;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* The C library's own, under the names that it has for those who stand before it. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static void count(void)
{
    if (atomic_load(&counting))
        atomic_fetch_add(&allocations, 1);
}

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
    count();
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    count();
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}
#endif

/* ---- windows ----------------------------------------------------------------------- */

/* 16-bit samples behind a header of 44 bytes. Returns their number. */
static size_t read_samples(const char *name, float *samples, size_t most)
{
    char path[600];
    struct buf bytes;
    struct err e = {0};
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s.wav", golden_folder, name);
    buf_init(&bytes, 1 << 24);
    if (fs_read(path, &bytes, &e))
        fail_msg("%s", e.message);
    for (size_t i = 44; i + 1 < bytes.length && n < most; i += 2) {
        int16_t sample;
        memcpy(&sample, bytes.data + i, sizeof(sample));
        samples[n++] = (float)sample / 32768;
    }
    buf_release(&bytes);
    return n;
}

static struct whisper_session *open_session(int threads, bool exact)
{
    struct whisper_session *s;
    struct err e = {0};
    const struct whisper_session_options o = {
        .threads = threads, .max_batch = WINDOWS, .exact = exact};
    if (whisper_session_open(&s, model, &o, &e))
        fail_msg("%s", e.message);
    return s;
}

/* The three recordings, and one of them without its beginning. */
static void make_features(void)
{
    static const char *const names[WINDOWS] = {"clean", "noisy", "telephone", "clean"};
    const size_t most = 30 * WHISPER_SAMPLE_RATE;
    float *samples = mem_array(most, sizeof(*samples));
    struct whisper_session *s = open_session(1, true);
    struct mel *mel = s->mel;
    struct err e = {0};
    assert_non_null(samples);
    for (int w = 0; w < WINDOWS; w++) {
        size_t n = read_samples(names[w], samples, most);
        size_t skip = w == 3 ? 2 * WHISPER_SAMPLE_RATE : 0;
        assert_true(n > skip);
        features[w] = mem_aligned(
            (size_t)WHISPER_WINDOW_FRAMES * (size_t)model->config.n_mels, sizeof(float));
        assert_non_null(features[w]);
        assert_int_equal(mel_begin(mel, samples + skip, n - skip, &e), 0);
        mel_window(mel, 0, features[w]);
    }
    whisper_session_close(s);
    free(samples);
}

/* ---- hearing ----------------------------------------------------------------------- */

static float sum_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)(1 + i % 7);
    return (float)sum;
}

/* Hear windows which[0 … count - 1] beside each other, at these places of the net. */
static void hear(struct whisper_session *s, const struct whisper_params *p,
                 float temperature, const int *which, int count, struct heard *out)
{
    const struct special_tokens *special = tokenizer_specials(s->tokenizer);
    const int32_t prompt[] = {special->sot, special->language_begin, special->transcribe};
    const float *mel[WINDOWS];
    struct search_task tasks[WINDOWS] = {0};
    struct err e = {0};
    size_t encoded =
        (size_t)model->config.n_audio_ctx * (size_t)model->config.n_audio_state;
    for (int i = 0; i < count; i++)
        mel[i] = features[which[i]];
    atomic_store(&counting, true);
    for (int i = 0; i < count; i++) {
        net_encode(s->net, i, &mel[i], 1);
        out[i].encoded = sum_of(net_encoded(s->net), encoded);
    }
    search_set_params(s->search, p);
    batcher_enter(search_batcher(s->search));
    for (int i = 0; i < count; i++) {
        assert_int_equal(search_languages(s->search, i, NULL, out[i].languages, &e), 0);
        tasks[i] = (struct search_task){.window = i,
                                        .prompt = prompt,
                                        .n_prompt = ARRAY_LENGTH(prompt),
                                        .temperature = temperature,
                                        .seek = (uint64_t)which[i]};
    }
    assert_int_equal(search_begin(s->search, tasks, count, NULL, &e), 0);
    assert_int_equal(search_run(s->search, tasks, count, NULL, &e), 0);
    batcher_leave(search_batcher(s->search));
    atomic_store(&counting, false);
    for (int i = 0; i < count; i++) {
        const struct search_task *t = &tasks[i];
        assert_true(t->count > 4 && t->count < MOST && !t->looping);
        memcpy(out[i].tokens, t->tokens, t->count * sizeof(*t->tokens));
        memcpy(out[i].logprobs, t->logprobs, t->count * sizeof(*t->logprobs));
        out[i].count = t->count;
        out[i].avg_logprob = t->avg_logprob;
        out[i].no_speech_prob = t->no_speech_prob;
    }
}

static void assert_alike(const struct heard *a, const struct heard *b)
{
    assert_true(a->encoded == b->encoded);
    assert_memory_equal(a->languages, b->languages, sizeof(a->languages));
    assert_true(a->no_speech_prob == b->no_speech_prob);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->tokens, b->tokens, a->count * sizeof(*a->tokens));
    assert_memory_equal(a->logprobs, b->logprobs, a->count * sizeof(*a->logprobs));
    assert_true(a->avg_logprob == b->avg_logprob);
}

/* ---- the tests --------------------------------------------------------------------- */

static const int all[WINDOWS] = {0, 1, 2, 3};

/* In another place, beside others. */
static void check_elsewhere(struct whisper_session *s, const struct whisper_params *p,
                            float temperature, const struct heard *expected)
{
    static const int some[] = {3, 0, 1};
    static struct heard others[ARRAY_LENGTH(some)];
    hear(s, p, temperature, some, ARRAY_LENGTH(some), others);
    for (size_t i = 0; i < ARRAY_LENGTH(some); i++)
        assert_alike(&expected[some[i]], &others[i]);
}

/* All at once on three threads against each alone on one. */
static void check_alone(bool exact, float temperature)
{
    struct whisper_params p;
    static struct heard together[WINDOWS], alone;
    struct whisper_session *s = open_session(3, exact);
    int count = INSTRUMENTED ? 2 : WINDOWS;
    whisper_params_init(&p);
    if (INSTRUMENTED)
        p.beam_size = 2;
    hear(s, &p, temperature, all, count, together);
    whisper_session_close(s);
    s = open_session(1, exact);
    for (int w = 0; w < count; w++) {
        hear(s, &p, temperature, &w, 1, &alone);
        assert_alike(&together[w], &alone);
    }
    if (!INSTRUMENTED)
        check_elsewhere(s, &p, temperature, together);
    whisper_session_close(s);
}

static void exact_results_do_not_depend_on_threads_or_batch(void **state)
{
    (void)state;
    if (!model)
        skip();
    check_alone(true, 0);
    if (!INSTRUMENTED)
        check_alone(true, 0.6f);
}

static void nor_do_those_with_halves(void **state)
{
    (void)state;
    if (!model || INSTRUMENTED)
        skip();
    check_alone(false, 0);
}

static void a_beam_finds_what_is_more_probable(void **state)
{
    (void)state;
    if (!model || INSTRUMENTED)
        skip();
    struct whisper_params p;
    static struct heard greedy[WINDOWS], beam[WINDOWS];
    struct whisper_session *s = open_session(0, false);
    whisper_params_init(&p);
    p.beam_size = 1;
    hear(s, &p, 0, all, WINDOWS, greedy);
    p.beam_size = 5;
    hear(s, &p, 0, all, WINDOWS, beam);
    bool better = false;
    /* A beam may lose what greed finds, and does so where speech begins in the middle of
     * a word: of whole recordings it does not. */
    for (int w = 0; w < 3; w++) {
        assert_true(beam[w].avg_logprob >= greedy[w].avg_logprob - 1e-6f);
        better |= beam[w].avg_logprob > greedy[w].avg_logprob + 1e-3f;
    }
    assert_true(better);
    whisper_session_close(s);
}

/* A recording of several windows, all of it. */
static void hear_all(const float *samples, size_t count, int batch, int threads,
                     struct whisper_result *r)
{
    struct whisper_params p;
    struct whisper_session *s;
    struct err e = {0};
    const struct whisper_session_options o = {
        .threads = threads, .max_batch = batch, .exact = true};
    whisper_params_init(&p);
    p.mode = WHISPER_MODE_BATCHED;
    p.batch_size = batch;
    p.beam_size = 2;
    whisper_result_init(r);
    if (whisper_session_open(&s, model, &o, &e) ||
        whisper_transcribe(s, samples, count, &p, NULL, r, &e))
        fail_msg("%s", e.message);
    whisper_session_close(s);
}

static void the_batch_changes_nothing_in_a_recording(void **state)
{
    (void)state;
    if (!model || INSTRUMENTED)
        skip();
    static const char *const names[] = {"clean", "telephone", "noisy", "clean",
                                        "noisy", "telephone", "clean"};
    const size_t most = 120 * WHISPER_SAMPLE_RATE, pause = WHISPER_SAMPLE_RATE * 3 / 2;
    float *samples = mem_array(most, sizeof(*samples));
    size_t n = 0;
    assert_non_null(samples);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        n += read_samples(names[i], samples + n, most - n - pause) + pause;
    struct whisper_result a, b;
    hear_all(samples, n, 1, 1, &a);
    hear_all(samples, n, 5, 3, &b);
    assert_true(a.n_segments > 4);
    assert_int_equal(a.n_segments, b.n_segments);
    assert_int_equal(a.language, b.language);
    assert_true(a.language_probability == b.language_probability);
    for (size_t i = 0; i < a.n_segments; i++) {
        const struct whisper_segment *x = &a.segments[i], *y = &b.segments[i];
        assert_string_equal(x->text, y->text);
        assert_true(x->start_seconds == y->start_seconds);
        assert_true(x->end_seconds == y->end_seconds);
        assert_true(x->avg_logprob == y->avg_logprob);
        assert_true(x->temperature == y->temperature);
    }
    whisper_result_release(&a);
    whisper_result_release(&b);
    free(samples);
}

static int set_up(void **state)
{
    (void)state;
    const char *root = getenv("WT_SOURCE_ROOT"), *models = getenv("WT_TEST_MODELS");
    char path[600];
    struct err e = {0};
    snprintf(golden_folder, sizeof golden_folder, "%s/tests/engine/golden",
             root ? root : ".");
    if (models && *models)
        snprintf(models_folder, sizeof models_folder, "%s", models);
    else
        snprintf(models_folder, sizeof models_folder, "%s/models", root ? root : ".");
    snprintf(path, sizeof path, "%s/ggml-tiny.bin", models_folder);
    if (access(path, R_OK)) {
        print_message("skipped: there is no %s\n", path);
        return 0;
    }
    if (whisper_model_load(&model, path, WHISPER_WEIGHTS_AS_GIVEN, &e))
        fail_msg("%s", e.message);
    make_features();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int w = 0; w < WINDOWS; w++)
        free(features[w]);
    whisper_model_free(model);
    return 0;
}

/* Everything is laid out when a session is opened: encoder, prompts, greedy, beams, draws
 * by chance and their threads ask for nothing more. */
static void nothing_is_allocated_while_it_decodes(void **state)
{
    (void)state;
    if (INSTRUMENTED || !model)
        skip();
    struct whisper_params p;
    static struct heard out[WINDOWS];
    struct whisper_session *s = open_session(2, false);
    whisper_params_init(&p);
    atomic_store(&allocations, 0);
    atomic_store(&counting, true);
    void *volatile one = malloc(1);
    free(one);
    atomic_store(&counting, false);
    assert_int_equal(atomic_load(&allocations), 1); /* it does count */
    atomic_store(&allocations, 0);
    p.beam_size = 1;
    hear(s, &p, 0, all, WINDOWS, out);
    p.beam_size = 5;
    hear(s, &p, 0, all, WINDOWS, out);
    hear(s, &p, 0.4f, all, 2, out);
    assert_int_equal(atomic_load(&allocations), 0);
    whisper_session_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_results_do_not_depend_on_threads_or_batch),
        cmocka_unit_test(nor_do_those_with_halves),
        cmocka_unit_test(a_beam_finds_what_is_more_probable),
        cmocka_unit_test(the_batch_changes_nothing_in_a_recording),
        cmocka_unit_test(nothing_is_allocated_while_it_decodes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
