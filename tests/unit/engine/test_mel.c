/* Mel features against the definition, in double precision and without any tricks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/mel.h"
#include "engine/threads.h"
#include "random_model.h"

#include <math.h>

#define MELS 10

struct fixture {
    struct whisper_model *m;
    struct pool *pool;
    struct mel *mel;
    float *out; /* owned [3000][MELS] */
};

static void open_fixture(struct fixture *f)
{
    struct err e = {0};
    f->m = random_model_new(WEIGHT_F32);
    f->out = mem_array(WHISPER_WINDOW_FRAMES * MELS, sizeof(float));
    assert_non_null(f->out);
    if (pool_new(&f->pool, 2, &e) || mel_open(&f->mel, f->m, f->pool, &e))
        fail_msg("%s", e.message);
}

static void close_fixture(struct fixture *f)
{
    mel_close(f->mel);
    pool_free(f->pool);
    random_model_free(f->m);
    free(f->out);
}

static void begin(struct fixture *f, const float *samples, size_t n)
{
    struct err e = {0};
    if (mel_begin(f->mel, samples, n, &e))
        fail_msg("%s", e.message);
}

static double sample(const float *x, int64_t n, int64_t i)
{
    i = i < 0 ? -i : i;
    return i < n && isfinite(x[i]) ? (double)x[i] : 0;
}

/* log10 of the clamped energies of one frame. */
static void plain_frame(const struct whisper_model *m, const float *x, int64_t n,
                        int64_t frame, double *out)
{
    static double cosines[400];
    double power[SPECTRUM_BINS], v[400];
    for (int i = 0; i < 400; i++) {
        cosines[i] = cos(2 * M_PI * i / 400);
        v[i] = sample(x, n, frame * 160 - 200 + i) * (0.5 - 0.5 * cosines[i]);
    }
    for (int k = 0; k < SPECTRUM_BINS; k++) {
        double re = 0, im = 0;
        for (int i = 0; i < 400; i++) {
            re += v[i] * cosines[k * i % 400];
            im += v[i] * cosines[(k * i + 300) % 400];
        }
        power[k] = re * re + im * im;
    }
    for (int b = 0; b < MELS; b++) {
        double energy = 0;
        for (int k = 0; k < SPECTRUM_BINS; k++)
            energy += power[k] * (double)m->mel_filters[b * SPECTRUM_BINS + k];
        out[b] = log10(fmax(energy, 1e-10));
    }
}

/* Compares every window that begins at `first` with the plain frames. */
static void check(struct fixture *f, const float *x, int64_t n, int64_t first)
{
    int64_t frames = (n + 480000) / 160;
    int64_t sounding = n / 160 + 3 < frames ? n / 160 + 3 : frames;
    double *plain = mem_array((size_t)sounding * MELS, sizeof *plain), most = -10;
    assert_non_null(plain);
    for (int64_t t = 0; t < sounding; t++)
        plain_frame(f->m, x, n, t, plain + t * MELS);
    for (int64_t i = 0; i < sounding * MELS; i++)
        most = fmax(most, plain[i]);
    begin(f, x, (size_t)n);
    assert_int_equal(mel_frames(f->mel), n / 160);
    mel_window(f->mel, first, f->out);
    for (int64_t i = 0; i < WHISPER_WINDOW_FRAMES * MELS; i++) {
        int64_t at = first * MELS + i;
        double value = at < sounding * MELS ? plain[at] : -10;
        double wanted = (fmax(value, most - 8) + 4) / 4;
        assert_true(fabs((double)f->out[i] - wanted) < 1e-4);
    }
    free(plain);
}

static float *make_samples(size_t n)
{
    float *x = mem_array(n, sizeof *x);
    assert_non_null(x);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        x[i] =
            0.3f * sinf((float)i * 0.1f) + (float)(int32_t)state / 2147483648.0f * 0.1f;
    }
    return x;
}

static void lengths_of_all_kinds(void **state)
{
    (void)state;
    static const int64_t lengths[] = {0,   1,   2,   159, 160,  161,  199,
                                      200, 201, 399, 400, 3333, 20000};
    const struct kernels *level;
    float *x = make_samples(20000);
    for (int l = 0; (level = kernels_level(l)); l++) {
        setenv("WT_CPU_LEVEL", level->name, 1);
        struct fixture f;
        open_fixture(&f);
        for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
            check(&f, x, lengths[i], 0);
            check(&f, x, lengths[i], 7);
        }
        check(&f, x, 20000, 124);
        check(&f, x, 20000, 100000); /* long past the end: silence */
        close_fixture(&f);
    }
    unsetenv("WT_CPU_LEVEL");
    free(x);
}

/* The clamp looks at the whole recording: a loud second window lifts the first. */
static void the_clamp_is_over_the_whole_recording(void **state)
{
    (void)state;
    struct fixture f;
    size_t n = 16000 * 34;
    float *x = mem_array(n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = i < 16000 * 32 ? 0 : sinf((float)i * 0.2f);
    open_fixture(&f);
    begin(&f, x, n);
    mel_window(f.mel, 0, f.out);
    float quiet = f.out[0];
    for (int i = 0; i < WHISPER_WINDOW_FRAMES * MELS; i++)
        assert_true(f.out[i] == quiet);
    mel_window(f.mel, 3000, f.out);
    float loudest = quiet;
    for (int i = 0; i < WHISPER_WINDOW_FRAMES * MELS; i++)
        loudest = f.out[i] > loudest ? f.out[i] : loudest;
    assert_true(fabsf(loudest - quiet - 2) < 1e-5f); /* 8 / 4 */
    free(x);
    close_fixture(&f);
}

static void what_is_no_number_is_silence(void **state)
{
    (void)state;
    struct fixture f;
    float *x = make_samples(8000);
    for (int i = 0; i < 8000; i += 97)
        x[i] = i % 2 ? NAN : i % 3 ? INFINITY : -INFINITY;
    open_fixture(&f);
    check(&f, x, 8000, 0);
    for (int i = 0; i < 8000; i++) /* finite, but their energy is not */
        x[i] = i % 2 ? 3e38f : -3e38f;
    begin(&f, x, 8000);
    mel_window(f.mel, 0, f.out);
    for (int i = 0; i < WHISPER_WINDOW_FRAMES * MELS; i++)
        assert_true(isfinite(f.out[i]));
    free(x);
    close_fixture(&f);
}

/* Pieces are clamped below their own loudest: a soft voice is heard as if it were alone,
 * whatever else is in the recording. */
static void a_soft_window_is_heard_as_if_alone(void **state)
{
    (void)state;
    static const struct mel_piece soft = {100, 2000};
    struct fixture f;
    size_t n = 16000 * 34, length = (size_t)WHISPER_WINDOW_FRAMES * MELS;
    float *x = mem_array(n, sizeof *x), *alone = mem_aligned(length, sizeof *alone);
    assert_true(x && alone);
    for (size_t i = 0; i < n; i++)
        x[i] = 1e-3f * sinf((float)i * (0.1f + (float)(i / 5000) * 0.01f));
    open_fixture(&f);
    begin(&f, x, n);
    assert_true(mel_gather(f.mel, &soft, 1, alone));
    for (size_t i = 16000 * 32; i < n; i++)
        x[i] *= 900;
    begin(&f, x, n);
    assert_true(mel_gather(f.mel, &soft, 1, f.out));
    assert_memory_equal(f.out, alone, length * sizeof *alone);
    free(alone);
    free(x);
    close_fixture(&f);
}

/* More than 80 dB below the loudest of the recording nothing sounds. */
static void what_sounds_is_told(void **state)
{
    (void)state;
    static const struct mel_piece quiet = {0, 3000}, loud = {1000, 2400};
    struct fixture f;
    size_t n = 16000 * 34;
    float *x = mem_array(n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (i < 16000 * 32 ? 3e-5f : 1) * sinf((float)i * 0.2f);
    open_fixture(&f);
    begin(&f, x, n);
    assert_false(mel_gather(f.mel, &quiet, 1, f.out));
    assert_true(mel_gather(f.mel, &loud, 1, f.out));
    for (size_t i = 0; i < 16000 * 32; i++)
        x[i] *= 10;
    begin(&f, x, n);
    assert_true(mel_gather(f.mel, &quiet, 1, f.out));
    memset(x, 0, n * sizeof *x);
    begin(&f, x, n);
    assert_false(mel_gather(f.mel, &quiet, 1, f.out));
    free(x);
    close_fixture(&f);
}

/* Each piece is what the window that begins with it holds, but for the clamp; the rest is
 * 0. */
static void pieces_are_those_of_the_whole(void **state)
{
    (void)state;
    static const struct mel_piece pieces[] = {{3, 1}, {40, 17}, {57, 16}, {100, 60}};
    struct fixture f;
    float *x = make_samples(20000);
    size_t n = (size_t)WHISPER_WINDOW_FRAMES * MELS, at = 0;
    float *out = mem_aligned(n, sizeof *out);
    assert_non_null(out);
    open_fixture(&f);
    begin(&f, x, 20000);
    for (size_t i = 0; i < n; i++)
        out[i] = 7;
    assert_true(mel_gather(f.mel, pieces, ARRAY_LENGTH(pieces), out));
    mel_window(f.mel, 100000, f.out);
    float lowest = f.out[0]; /* of the whole recording */
    for (size_t i = 0; i < ARRAY_LENGTH(pieces); i++) {
        size_t length = (size_t)pieces[i].frames * MELS;
        mel_window(f.mel, pieces[i].first, f.out);
        for (size_t j = 0; j < length; j++)
            assert_true(out[at + j] == f.out[j] ||
                        (out[at + j] < f.out[j] && f.out[j] == lowest));
        at += length;
    }
    for (; at < n; at++)
        assert_true(out[at] == 0);
    free(out);
    free(x);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_of_all_kinds),
        cmocka_unit_test(the_clamp_is_over_the_whole_recording),
        cmocka_unit_test(what_is_no_number_is_silence),
        cmocka_unit_test(a_soft_window_is_heard_as_if_alone),
        cmocka_unit_test(what_sounds_is_told),
        cmocka_unit_test(pieces_are_those_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
