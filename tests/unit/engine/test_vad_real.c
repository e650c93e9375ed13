/* The published weights against a forward pass in double precision, which was written
 * apart from ours (and gives ONNX Runtime's numbers on a recording for which those are
 * known), on the recordings of tests/engine/golden. Most probabilities are of places
 * where the network is unsure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/speech.h"
#include "engine/vad.h"

#define BOUND       2e-5 /* single precision gives some 3e-6 */
#define MAX_SAMPLES 200000
#define WAV_HEADER  44

struct expected {
    const char *recording;
    size_t count;
    struct {
        size_t at;
        double probability;
    } some[16]; /* ends with at = 0, but for the first */
};

// clang-format off
static const struct expected expected[] = {
    {"clean", 327, {{0, 0.0201202}, {17, 0.3034561}, {75, 0.8870996}, {76, 0.4372007},
                    {77, 0.2368012}, {82, 0.1886091}, {138, 0.8931947}, {163, 0.9999674},
                    {190, 0.7792664}, {255, 0.8928371}, {256, 0.4385927},
                    {258, 0.7179224}, {317, 0.8108540}, {318, 0.3530833},
                    {319, 0.1380796}, {326, 0.0041893}}},
    {"noisy", 102, {{0, 0.1605006}, {1, 0.5641327}, {2, 0.7076526}, {3, 0.8141331},
                    {4, 0.8999675}, {51, 0.9999889}, {94, 0.5342212}, {95, 0.3095347},
                    {96, 0.2014206}, {97, 0.2072065}, {98, 0.2000329}, {99, 0.1606970},
                    {100, 0.1681145}, {101, 0.5630914}}},
    {"telephone", 193, {{0, 0.3107873}, {37, 0.9460604}, {63, 0.8669973},
                        {64, 0.4263918}, {65, 0.1196431}, {75, 0.9001135},
                        {96, 0.9999523}, {113, 0.9523748}, {114, 0.4885541},
                        {115, 0.1045293}, {116, 0.1651053}, {117, 0.2107253},
                        {118, 0.1770934}, {192, 0.5909820}}},
};
// clang-format on

static float samples[MAX_SAMPLES];

static struct vad *open_real(void)
{
    char path[512];
    const char *folder = getenv("WT_TEST_MODELS"), *root = getenv("WT_SOURCE_ROOT");
    if (folder)
        (void)snprintf(path, sizeof path, "%s/silero_vad_16k_op15.onnx", folder);
    else
        (void)snprintf(path, sizeof path, "%s/models/silero_vad_16k_op15.onnx",
                       root ? root : ".");
    if (access(path, R_OK)) {
        print_message("skipped: there is no %s (set WT_TEST_MODELS)\n", path);
        skip();
    }
    struct err e;
    struct vad *v;
    if (vad_open(&v, path, &e))
        fail_msg("%s", e.message);
    return v;
}

/* 16-bit mono at 16 kHz, with the plainest of headers. */
static size_t read_wav(const char *name)
{
    char path[512];
    const char *root = getenv("WT_SOURCE_ROOT");
    struct buf file;
    struct err e;
    (void)snprintf(path, sizeof path, "%s/tests/engine/golden/%s.wav", root ? root : ".",
                   name);
    buf_init(&file, WAV_HEADER + 2 * MAX_SAMPLES);
    if (fs_read(path, &file, &e))
        fail_msg("%s", e.message);
    size_t n = (file.length - WAV_HEADER) / 2;
    for (size_t i = 0; i < n; i++) {
        int16_t value;
        memcpy(&value, file.data + WAV_HEADER + 2 * i, sizeof value);
        samples[i] = (float)value / 32768.0f;
    }
    buf_release(&file);
    return n;
}

static void check(const struct vad *v, const struct expected *x, const char *level)
{
    float out[MAX_SAMPLES / VAD_SAMPLES + 1];
    size_t n = read_wav(x->recording);
    assert_int_equal(vad_count(n), x->count);
    assert_int_equal(vad_run(v, NULL, samples, n, 1, out, NULL, NULL, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(x->some) && (i == 0 || x->some[i].at); i++) {
        double is = (double)out[x->some[i].at];
        if (!(fabs(is - x->some[i].probability) <= BOUND))
            fail_msg("%s at %zu, %s: %.7f, not %.7f", x->recording, x->some[i].at, level,
                     is, x->some[i].probability);
    }
}

static void probabilities_are_those_of_the_network(void **state)
{
    (void)state;
    const struct kernels *k;
    for (int level = 0; (k = kernels_level(level)); level++) {
        setenv("WT_CPU_LEVEL", k->name, 1);
        struct vad *v = open_real();
        for (size_t i = 0; i < ARRAY_LENGTH(expected); i++)
            check(v, &expected[i], k->name);
        vad_close(v);
    }
    unsetenv("WT_CPU_LEVEL");
}

/* ---- and what is made of them ---------------------------------------------------- */

static const struct whisper_vad_options options = {.threshold = 0.5f,
                                                   .neg_threshold = NAN,
                                                   .max_speech_duration_s = INFINITY,
                                                   .min_silence_duration_ms = 2000,
                                                   .speech_pad_ms = 400};

static void silence_has_no_speech(void **state)
{
    (void)state;
    struct vad *v = open_real();
    struct speech s = {0};
    memset(samples, 0, sizeof samples);
    assert_int_equal(
        speech_find(&s, v, NULL, samples, MAX_SAMPLES, &options, NULL, NULL, NULL), 0);
    assert_int_equal(s.source, SPEECH_SILERO);
    assert_int_equal(s.n_spans, 0);
    speech_release(&s);
    vad_close(v);
}

static void speech_between_silences_is_found(void **state)
{
    (void)state;
    struct vad *v = open_real();
    struct speech s = {0};
    size_t n = read_wav("telephone"), lead = 80000;
    memmove(samples + lead, samples, n * sizeof *samples);
    memset(samples, 0, lead * sizeof *samples);
    memset(samples + lead + n, 0, (MAX_SAMPLES - lead - n) * sizeof *samples);
    assert_int_equal(
        speech_find(&s, v, NULL, samples, MAX_SAMPLES, &options, NULL, NULL, NULL), 0);
    assert_int_equal(s.n_spans, 1);
    int64_t start = (int64_t)lead / 160, end = (int64_t)(lead + n) / 160;
    assert_in_range(s.spans[0].start_frame, start - 60, start);
    assert_in_range(s.spans[0].end_frame, end, end + 60);
    speech_release(&s);
    vad_close(v);
}

static void find(struct speech *s, const struct vad *v, size_t n)
{
    assert_int_equal(speech_find(s, v, NULL, samples, n, &options, NULL, NULL, NULL), 0);
}

/* 45 dB softer the network by itself hears nothing. */
static void a_soft_recording_is_heard(void **state)
{
    (void)state;
    struct vad *v = open_real();
    struct speech loud = {0}, soft = {0};
    size_t n = read_wav("clean");
    find(&loud, v, n);
    for (size_t i = 0; i < n; i++)
        samples[i] *= 0.0056f;
    find(&soft, v, n);
    int64_t all = loud.total_frames;
    assert_true(fabs(speech_seconds(&soft, 0, all) - speech_seconds(&loud, 0, all)) <
                0.3);
    speech_release(&loud);
    speech_release(&soft);
    vad_close(v);
}

static void somebody_far_away_beside_somebody_near_is_heard(void **state)
{
    (void)state;
    struct vad *v = open_real();
    struct speech s = {0};
    size_t near = read_wav("noisy"), silence = 48000;
    memcpy(samples + near + silence, samples, near * sizeof *samples);
    size_t n = 2 * near + silence;
    for (size_t i = near; i < n; i++) /* 34 dB softer, over a faint hiss */
        samples[i] = 0.02f * (i < near + silence ? 0 : samples[i]) +
                     1e-4f * (float)((int)(i * 7919 % 17) - 8) / 8;
    find(&s, v, n);
    int64_t soft_from = (int64_t)(near + silence) / 160;
    double there = (double)near / 16000;
    assert_true(speech_seconds(&s, soft_from, s.total_frames) > 0.8 * there);
    speech_release(&s);
    vad_close(v);
}

/* Turned up it stays a hiss. */
static void a_faint_hiss_is_no_speech(void **state)
{
    (void)state;
    struct vad *v = open_real();
    struct speech s = {0};
    uint32_t seed = 1;
    for (size_t i = 0; i < MAX_SAMPLES; i++) {
        seed = seed * 1664525u + 1013904223u;
        samples[i] = 1e-4f * ((float)(seed >> 8) / 8388608.0f - 1.0f);
    }
    find(&s, v, MAX_SAMPLES);
    assert_int_equal(s.n_spans, 0);
    speech_release(&s);
    vad_close(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probabilities_are_those_of_the_network),
        cmocka_unit_test(silence_has_no_speech),
        cmocka_unit_test(speech_between_silences_is_found),
        cmocka_unit_test(a_soft_recording_is_heard),
        cmocka_unit_test(somebody_far_away_beside_somebody_near_is_heard),
        cmocka_unit_test(a_faint_hiss_is_no_speech),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
