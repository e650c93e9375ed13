#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/level.h"

#define COUNT 160000

static float samples[COUNT];
static struct level level;

static void sine(size_t from, size_t to, double hz, double amplitude)
{
    for (size_t i = from; i < to; i++)
        samples[i] = (float)(amplitude * sin(2 * M_PI * hz * (double)i / 16000));
}

static int clear(void **state)
{
    (void)state;
    memset(samples, 0, sizeof samples);
    return 0;
}

static void assert_near(float is, double wanted, double bound)
{
    if (!(fabs((double)is - wanted) <= bound))
        fail_msg("%g is not %g", (double)is, wanted);
}

static void silence_has_no_level(void **state)
{
    (void)state;
    level_measure(&level, samples, COUNT, NULL);
    assert_true(isinf(level.peak_dbfs) && level.peak_dbfs < 0);
    assert_true(isinf(level.speech_dbfs) && level.speech_dbfs < 0);
    assert_true(level.clipped_share == 0 && level.offset == 0);
    level_measure(&level, samples, 0, NULL);
    assert_true(isinf(level.peak_dbfs));
    assert_true(level.clipped_share == 0 && level.offset == 0);
}

static void a_sine_has_the_level_of_a_sine(void **state)
{
    (void)state;
    sine(0, COUNT, 440, 0.5);
    level_measure(&level, samples, COUNT, NULL);
    assert_near(level.peak_dbfs, 20 * log10(0.5), 0.01);
    assert_near(level.speech_dbfs, 20 * log10(0.5) - 3.01, 0.01);
    assert_true(level.clipped_share == 0);
    assert_near(level.offset, 0, 1e-3);
}

static void only_speech_counts_for_the_level_of_speech(void **state)
{
    (void)state;
    sine(16000, 32000, 440, 0.1);
    sine(48000, 64000, 440, 0.9);
    struct speech_span spans[] = {{100, 200}};
    struct speech s = {.total_frames = 1000, .spans = spans, .n_spans = 1};
    level_measure(&level, samples, COUNT, &s);
    assert_near(level.speech_dbfs, -23.01, 0.01);
    assert_near(level.peak_dbfs, 20 * log10(0.9), 0.01);
    s.n_spans = 0;
    level_measure(&level, samples, COUNT, &s);
    assert_true(isinf(level.speech_dbfs));
}

static void clip(float limit)
{
    for (size_t i = 0; i < COUNT; i++)
        samples[i] = fmaxf(-limit, fminf(limit, samples[i]));
}

static void clipping_is_found(void **state)
{
    (void)state;
    sine(0, COUNT, 220, 2); /* above 1 for two thirds of the time */
    clip(1);
    level_measure(&level, samples, COUNT, NULL);
    assert_near(level.clipped_share, 2.0 / 3, 0.03);
    sine(0, COUNT, 220, 2);
    clip(0.98f); /* where companded telephone sound ends */
    level_measure(&level, samples, COUNT, NULL);
    assert_near(level.clipped_share, 2.0 / 3, 0.03);
    sine(0, COUNT, 220, 2);
    clip(0.5f); /* turned down: there is no telling */
    level_measure(&level, samples, COUNT, NULL);
    assert_true(level.clipped_share == 0);
}

static void loud_is_not_clipped(void **state)
{
    (void)state;
    /* Peaks at full scale, which last for a sample or two each. */
    sine(0, COUNT, 997, 0.9999);
    level_measure(&level, samples, COUNT, NULL);
    assert_true(level.clipped_share == 0);
    /* Two samples at either end side by side are no run of three. */
    memset(samples, 0, sizeof samples);
    for (size_t i = 0; i + 4 < COUNT; i += 8) {
        samples[i] = samples[i + 1] = 1;
        samples[i + 2] = samples[i + 3] = -1;
    }
    level_measure(&level, samples, COUNT, NULL);
    assert_true(level.clipped_share == 0);
}

static void an_offset_is_found(void **state)
{
    (void)state;
    sine(0, COUNT, 440, 0.1);
    for (size_t i = 0; i < COUNT; i++)
        samples[i] -= 0.25f;
    level_measure(&level, samples, COUNT, NULL);
    assert_near(level.offset, -0.25, 1e-3);
}

static void odd_samples_count_as_silence(void **state)
{
    (void)state;
    sine(0, COUNT, 440, 0.5);
    samples[10] = NAN;
    samples[11] = INFINITY;
    samples[12] = -INFINITY;
    level_measure(&level, samples, COUNT, NULL);
    assert_near(level.peak_dbfs, 20 * log10(0.5), 0.01);
    assert_true(level.clipped_share == 0);
    assert_true(isfinite(level.offset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(silence_has_no_level, clear),
        cmocka_unit_test_setup(a_sine_has_the_level_of_a_sine, clear),
        cmocka_unit_test_setup(only_speech_counts_for_the_level_of_speech, clear),
        cmocka_unit_test_setup(clipping_is_found, clear),
        cmocka_unit_test_setup(loud_is_not_clipped, clear),
        cmocka_unit_test_setup(an_offset_is_found, clear),
        cmocka_unit_test_setup(odd_samples_count_as_silence, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
