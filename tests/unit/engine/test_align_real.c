/* Word times with real weights on a recording whose word times are known: read off the
 * levels of every 10 ms where a word begins or ends at a burst or in silence, and
 * elsewhere the middle of what three models say. And by construction: where silence is
 * put in, all behind it moves by as much.
 *
 * Needs ggml-tiny.bin (and tries ggml-base.en.bin) in $WT_TEST_MODELS, or models/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/align.h"
#include "engine/mel.h"
#include "engine/speech.h"

#include <math.h>
#include <unistd.h>

#define BOUND       0.06
#define BOUND_OTHER 0.12 /* of a model that the list was not made with */
#define WORDS       27

static const char text[] =
    " He hoped there would be stew for dinner, turnips and carrots and bruised potatoes "
    "and fat mutton pieces, to be ladled out in thick, peppered, flour-fattened sauce.";

static const struct {
    double seconds;
    size_t word; /* of the text, from 0 */
    bool end;
} known[] = {
    /* By ear and level. */
    {0.54, 0, false},
    {2.52, 7, true},
    {2.63, 8, false},
    {3.25, 10, false},
    {6.03, 16, true},
    {6.12, 17, false},
    {7.19, 21, false},
    {10.10, 26, true},
    /* By three models. */
    {0.67, 1, false},
    {0.96, 2, false},
    {1.18, 3, false},
    {1.35, 4, false},
    {1.49, 5, false},
    {3.04, 9, false},
    {3.63, 11, false},
    {3.98, 12, false},
    {5.28, 15, false},
    {6.69, 19, false},
    {6.82, 20, false},
    {8.74, 24, true},
    {9.66, 26, false},
};

struct bench {
    struct whisper_model *model;
    struct net *net;
    struct tokenizer *tokenizer;
    struct mel *mel;
    struct align *align;
};

static bool open_bench(struct bench *b, const char *name)
{
    char path[600];
    const char *models = getenv("WT_TEST_MODELS"), *root = getenv("WT_SOURCE_ROOT");
    if (models)
        snprintf(path, sizeof path, "%s/%s", models, name);
    else
        snprintf(path, sizeof path, "%s/models/%s", root ? root : ".", name);
    if (access(path, R_OK)) {
        print_message("skipped: needs %s\n", path);
        return false;
    }
    struct err e = {0};
    struct net_options o = {.threads = 2, .max_windows = 1, .max_slots = 1};
    if (whisper_model_load(&b->model, path, WHISPER_WEIGHTS_AS_GIVEN, &e) ||
        net_open(&b->net, b->model, &o, &e) ||
        tokenizer_open(&b->tokenizer, b->model, &e) ||
        mel_open(&b->mel, b->model, net_pool(b->net), &e) ||
        align_open(&b->align, b->model, b->net, b->tokenizer, &e))
        fail_msg("%s", e.message);
    return true;
}

static void close_bench(struct bench *b)
{
    align_close(b->align);
    mel_close(b->mel);
    tokenizer_close(b->tokenizer);
    net_close(b->net);
    whisper_model_free(b->model);
}

/* ---- sound ------------------------------------------------------------------------- */

/* The recording with silence, as it is between words, put in at two places. */
struct sound {
    float samples[30 * WHISPER_SAMPLE_RATE];
    size_t count;
};

static size_t frames_to_samples(double seconds)
{
    return (size_t)lround(seconds * WHISPER_FRAMES_PER_SECOND) * 160;
}

static void add_silence(struct sound *s, double seconds)
{
    for (size_t i = frames_to_samples(seconds); i > 0; i--)
        s->samples[s->count++] = 0;
}

static struct sound *make_sound(double lead, double at, double pause)
{
    struct sound *s = mem_array(1, sizeof *s);
    struct buf bytes;
    struct err e = {0};
    char path[600];
    const char *root = getenv("WT_SOURCE_ROOT");
    snprintf(path, sizeof path, "%s/tests/engine/golden/clean.wav", root ? root : ".");
    buf_init(&bytes, 1 << 24);
    if (fs_read(path, &bytes, &e))
        fail_msg("%s", e.message);
    assert_non_null(s);
    add_silence(s, lead);
    for (size_t i = 44; i + 1 < bytes.length; i += 2) {
        int16_t sample;
        memcpy(&sample, bytes.data + i, sizeof sample);
        if ((i - 44) / 2 == frames_to_samples(at))
            add_silence(s, pause);
        s->samples[s->count++] = (float)sample / 32768;
    }
    buf_release(&bytes);
    return s;
}

static struct align_word *hear(struct bench *b, const struct sound *s, size_t *n)
{
    struct err e = {0};
    struct speech speech = {0};
    struct align_word *words;
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    float *mel = mem_array((size_t)WHISPER_WINDOW_FRAMES * 80, sizeof *mel);
    const float *mels[] = {mel};
    assert_non_null(mel);
    assert_int_equal(mel_begin(b->mel, s->samples, s->count, &e), 0);
    mel_window(b->mel, 0, mel);
    net_encode(b->net, 0, mels, 1);
    assert_int_equal(speech_all(&speech, s->samples, s->count, &e), 0);
    assert_int_equal(
        tokenizer_encode(b->tokenizer, text, strlen(text), &ids, &count, &capacity, &e),
        0);
    struct align_request r = {.tokens = ids,
                              .n_tokens = count,
                              .frames = (int)speech.total_frames,
                              .levels = speech.levels};
    if (align_window(b->align, &r, &words, n, &e))
        fail_msg("%s", e.message);
    free(ids);
    free(mel);
    speech_release(&speech);
    return words;
}

/* ---- tests ----------------------------------------------------------------------- */

static double edge(const struct align_word *words, size_t i)
{
    const struct align_word *w = &words[known[i].word];
    return known[i].end ? w->end_seconds : w->start_seconds;
}

static void check_known(const struct align_word *words, double lead, double at,
                        double pause, double bound)
{
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        double wanted = known[i].seconds + lead + (known[i].seconds > at ? pause : 0);
        if (fabs(edge(words, i) - wanted) > bound + 1e-9)
            fail_msg("\"%s\" %s at %.2f s, not %.2f", words[known[i].word].text,
                     known[i].end ? "ends" : "begins", edge(words, i), wanted);
    }
}

static void check_recording(struct bench *b, double lead, double at, double pause,
                            double bound)
{
    size_t n;
    struct sound *s = make_sound(lead, at, pause);
    struct align_word *words = hear(b, s, &n);
    assert_int_equal(n, WORDS);
    assert_string_equal(words[7].text, " dinner,");
    assert_string_equal(words[25].text, " flour-fattened");
    check_known(words, lead, at, pause, bound);
    for (size_t i = 0; i < n; i++)
        assert_true(words[i].probability > 0.0001f && words[i].probability <= 1);
    assert_true(words[26].probability > 0.5f);
    align_words_free(words, n);
    free(s);
}

static void words_are_where_they_are_heard(void **state)
{
    (void)state;
    struct bench b = {0};
    assert_true(open_bench(&b, "ggml-tiny.bin"));
    check_recording(&b, 0, 100, 0, BOUND);
    close_bench(&b);
}

static void silence_moves_what_is_behind_it(void **state)
{
    (void)state;
    struct bench b = {0};
    assert_true(open_bench(&b, "ggml-tiny.bin"));
    check_recording(&b, 1.37, 100, 0, BOUND);
    check_recording(&b, 0.5, 2.58, 3, BOUND);
    close_bench(&b);
}

static void another_model_says_the_same(void **state)
{
    (void)state;
    struct bench b = {0};
    if (!open_bench(&b, "ggml-base.en.bin"))
        skip();
    check_recording(&b, 0, 100, 0, BOUND_OTHER);
    close_bench(&b);
}

int main(void)
{
    struct bench b = {0};
    if (!open_bench(&b, "ggml-tiny.bin"))
        return 77;
    close_bench(&b);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_where_they_are_heard),
        cmocka_unit_test(silence_moves_what_is_behind_it),
        cmocka_unit_test(another_model_says_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
