#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/quiet.h"

#define SECOND 16000
#define FRAMES 100 /* a second */

static float samples[60 * SECOND];
static uint32_t seed;

/* White noise between -amplitude and amplitude. */
static void noise(double from_seconds, double to_seconds, float amplitude)
{
    for (size_t i = (size_t)(from_seconds * SECOND); i < (size_t)(to_seconds * SECOND);
         i++) {
        seed = seed * 1664525u + 1013904223u;
        samples[i] = amplitude * ((float)(seed >> 8) / 8388608.0f - 1.0f);
    }
}

static int clear(void **state)
{
    (void)state;
    seed = 1;
    memset(samples, 0, sizeof samples);
    return 0;
}

/* What is passed over at `frame` of the first `seconds`. */
static int64_t skip_at(size_t seconds, int64_t frame)
{
    struct quiet q = {0};
    assert_int_equal(quiet_begin(&q, samples, seconds * SECOND, NULL), 0);
    int64_t skip = quiet_skip(&q, frame);
    quiet_release(&q);
    return skip;
}

static void a_long_pause_over_faint_noise_is_passed_over(void **state)
{
    (void)state;
    noise(0, 30, 0.001f);
    noise(2, 6, 0.3f);
    noise(20, 24, 0.3f);
    assert_int_equal(skip_at(30, 0), 0); /* two seconds are a pause of speech */
    assert_int_equal(skip_at(30, 3 * FRAMES), 0);
    assert_int_equal(skip_at(30, 6 * FRAMES), 14 * FRAMES - QUIET_LEAD_FRAMES);
    assert_int_equal(skip_at(30, 24 * FRAMES), 6 * FRAMES);
    /* Going on from where a skip ended changes nothing. */
    assert_int_equal(skip_at(30, 20 * FRAMES - QUIET_LEAD_FRAMES), 0);
}

static void one_soft_word_keeps_the_pause(void **state)
{
    (void)state;
    noise(0, 30, 0.001f);
    noise(2, 6, 0.3f);
    noise(9, 9.3, 0.005f); /* 14 dB above the background, 36 below the rest */
    noise(20, 24, 0.3f);
    assert_int_equal(skip_at(30, 6 * FRAMES), 3 * FRAMES - QUIET_LEAD_FRAMES);
    assert_int_equal(skip_at(30, 9 * FRAMES), 0);
}

static void a_noisy_recording_is_heard_whole(void **state)
{
    (void)state;
    noise(0, 60, 0.05f);
    noise(10, 12, 0.3f); /* 16 dB above the noise */
    for (int64_t at = 0; at < 60 * FRAMES; at += FRAMES)
        assert_int_equal(skip_at(60, at), 0);
}

static void soft_speech_beside_loud_is_heard(void **state)
{
    (void)state;
    noise(0, 30, 0.0005f);
    noise(0, 10, 0.5f);
    noise(12, 25, 0.004f); /* 42 dB below */
    assert_int_equal(skip_at(30, 12 * FRAMES), 0);
    assert_int_equal(skip_at(30, 20 * FRAMES), 0);
}

static void digital_silence_is_quiet(void **state)
{
    (void)state;
    assert_int_equal(skip_at(30, 0), 30 * FRAMES);
    noise(10, 12, 0.01f);
    assert_int_equal(skip_at(30, 0), 10 * FRAMES - QUIET_LEAD_FRAMES);
    assert_int_equal(skip_at(30, 12 * FRAMES), 18 * FRAMES);
}

static void odd_recordings_have_an_answer(void **state)
{
    (void)state;
    samples[5] = NAN;
    samples[6] = INFINITY;
    assert_int_equal(skip_at(0, 0), 0);
    assert_int_equal(skip_at(10, 0), 10 * FRAMES);
    assert_int_equal(skip_at(10, -1), 0);
    assert_int_equal(skip_at(10, 10 * FRAMES), 0);
    assert_int_equal(skip_at(10, INT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_long_pause_over_faint_noise_is_passed_over, clear),
        cmocka_unit_test_setup(one_soft_word_keeps_the_pause, clear),
        cmocka_unit_test_setup(a_noisy_recording_is_heard_whole, clear),
        cmocka_unit_test_setup(soft_speech_beside_loud_is_heard, clear),
        cmocka_unit_test_setup(digital_silence_is_quiet, clear),
        cmocka_unit_test_setup(odd_recordings_have_an_answer, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
