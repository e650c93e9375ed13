#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "spans_check.h"

#include <math.h>

#include "engine/speech.h"

#define SECOND 16000
#define FRAMES 100 /* a second */

static float samples[60 * SECOND];
static uint32_t seed;
static struct speech speech;
static struct whisper_vad_options options;

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
    options = (struct whisper_vad_options){
        .threshold = 0.5f,
        .neg_threshold = NAN,
        .max_speech_duration_s = INFINITY,
        .min_silence_duration_ms = 2000,
        .speech_pad_ms = 400,
    };
    return 0;
}

static int release(void **state)
{
    (void)state;
    speech_release(&speech);
    return 0;
}

static void find(size_t seconds)
{
    assert_int_equal(speech_find(&speech, NULL, NULL, samples, seconds * SECOND, &options,
                                 NULL, NULL, NULL),
                     0);
    assert_int_equal(speech.source, SPEECH_ENERGY);
    assert_int_equal(speech.total_frames, (int64_t)seconds * FRAMES);
    assert_spans(&speech);
}

static void assert_span(size_t i, int64_t start, int64_t end)
{
    assert_span_of(&speech, i, start, end);
}

/* ---- by level -------------------------------------------------------------------- */

static void a_long_pause_over_faint_noise_is_passed_over(void **state)
{
    (void)state;
    noise(0, 30, 0.001f);
    noise(2, 6, 0.3f);
    noise(20, 24, 0.3f);
    find(30);
    assert_int_equal(speech.n_spans, 2);
    assert_span(0, 0, 6 * FRAMES + 40); /* two seconds at first are a pause of speech */
    assert_span(1, 20 * FRAMES - ENERGY_LEAD_FRAMES, 24 * FRAMES + 40);
}

static void options_can_only_keep_more(void **state)
{
    (void)state;
    noise(0, 30, 0.001f);
    noise(4, 6, 0.3f);
    noise(20, 24, 0.3f);
    options.speech_pad_ms = 1000;
    find(30);
    assert_int_equal(speech.n_spans, 2);
    assert_span(0, 3 * FRAMES, 7 * FRAMES);
    assert_span(1, 19 * FRAMES, 25 * FRAMES);
    options.min_silence_duration_ms = 15000;
    options.speech_pad_ms = 0;
    find(30);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, 0, 24 * FRAMES);
    options.min_silence_duration_ms = 0;
    find(30);
    assert_span(1, 20 * FRAMES - ENERGY_LEAD_FRAMES, 24 * FRAMES);
}

static void one_soft_word_is_kept(void **state)
{
    (void)state;
    noise(0, 30, 0.001f);
    noise(2, 6, 0.3f);
    noise(12, 12.3, 0.005f); /* 14 dB above the background, 36 below the rest */
    noise(20, 24, 0.3f);
    find(30);
    assert_int_equal(speech.n_spans, 3);
    assert_span(1, 12 * FRAMES - ENERGY_LEAD_FRAMES, 12 * FRAMES + 30 + 40);
}

static void a_noisy_recording_is_kept_whole(void **state)
{
    (void)state;
    noise(0, 60, 0.05f);
    noise(10, 12, 0.3f); /* 16 dB above the noise */
    find(60);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, 0, 60 * FRAMES);
}

static void soft_speech_beside_loud_is_kept(void **state)
{
    (void)state;
    noise(0, 30, 0.0005f);
    noise(0, 10, 0.5f);
    noise(14, 25, 0.004f); /* 42 dB below */
    find(30);
    assert_int_equal(speech.n_spans, 2);
    assert_span(0, 0, 10 * FRAMES + 40);
    assert_span(1, 14 * FRAMES - ENERGY_LEAD_FRAMES, 25 * FRAMES + 40);
}

static void digital_silence_is_passed_over(void **state)
{
    (void)state;
    find(30);
    assert_int_equal(speech.n_spans, 0);
    assert_int_equal(speech_next(&speech, 0), 30 * FRAMES);
    noise(10, 12, 0.01f);
    find(30);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, 10 * FRAMES - ENERGY_LEAD_FRAMES, 12 * FRAMES + 40);
    memset(samples, 0, sizeof samples);
    assert_int_equal(
        speech_find(&speech, NULL, NULL, samples, 4000, &options, NULL, NULL, NULL), 0);
    assert_int_equal(speech.n_spans, 0);
}

static void sound_at_either_end_is_kept(void **state)
{
    (void)state;
    noise(0, 0.02, 0.3f);
    noise(29.98, 30, 0.3f);
    find(30);
    assert_int_equal(speech.n_spans, 2);
    assert_span(0, 0, 2 + 40);
    assert_span(1, 30 * FRAMES - 2 - ENERGY_LEAD_FRAMES, 30 * FRAMES);
}

static void long_spans_are_cut_where_they_are_quietest(void **state)
{
    (void)state;
    noise(0, 45, 0.3f);
    noise(22.5, 22.8, 0.01f);
    options.max_speech_duration_s = 30;
    find(45);
    assert_int_equal(speech.n_spans, 2);
    assert_in_range(speech.spans[0].end_frame, 2250, 2280);
    assert_span(1, speech.spans[0].end_frame, 45 * FRAMES);
    options.max_speech_duration_s = 1;
    find(45);
    assert_true(speech.n_spans >= 45);
    assert_true(speech_seconds(&speech, 0, 45 * FRAMES) == 45.0);
    for (size_t i = 0; i < speech.n_spans; i++)
        assert_true(speech.spans[i].end_frame - speech.spans[i].start_frame <= FRAMES);
}

static void odd_recordings_have_an_answer(void **state)
{
    (void)state;
    samples[5] = NAN;
    samples[6] = INFINITY;
    find(0);
    assert_int_equal(speech.n_spans, 0);
    find(10);
    assert_int_equal(speech.n_spans, 0);
    assert_int_equal(
        speech_find(&speech, NULL, NULL, samples, 159, &options, NULL, NULL, NULL), 0);
    assert_int_equal(speech.n_spans, 0);
    noise(0, 1, 0.1f);
    assert_int_equal(
        speech_find(&speech, NULL, NULL, samples, 320, &options, NULL, NULL, NULL), 0);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, 0, 2);
}

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static void work_can_be_cancelled_and_bad_options_are_refused(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(
        speech_find(&speech, NULL, NULL, samples, SECOND, &options, yes, NULL, &e),
        ERR_CANCELLED);
    const struct whisper_vad_options good = options;
    struct whisper_vad_options bad[7];
    for (size_t i = 0; i < 7; i++)
        bad[i] = good;
    bad[0].threshold = NAN;
    bad[1].threshold = 1.5f;
    bad[2].neg_threshold = -1;
    bad[3].max_speech_duration_s = 0;
    bad[4].min_silence_duration_ms = -1;
    bad[5].speech_pad_ms = -1;
    bad[6].min_speech_duration_ms = -1;
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(
            speech_find(&speech, NULL, NULL, samples, SECOND, &bad[i], NULL, NULL, &e),
            ERR_INVALID);
}

/* ---- questions ------------------------------------------------------------------- */

static void a_recording_can_be_taken_whole(void **state)
{
    (void)state;
    assert_int_equal(speech_all(&speech, samples, 30 * SECOND, NULL), 0);
    assert_int_equal(speech.source, SPEECH_ALL);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, 0, 30 * FRAMES);
    assert_int_equal(speech_all(&speech, samples, 0, NULL), 0);
    assert_int_equal(speech.n_spans, 0);
}

static void spans_answer_questions(void **state)
{
    (void)state;
    struct speech_span spans[] = {{10, 20}, {20, 30}, {50, 60}};
    struct speech s = {.total_frames = 100, .spans = spans, .n_spans = 3};
    assert_false(speech_at(&s, 9));
    assert_true(speech_at(&s, 10));
    assert_true(speech_at(&s, 29));
    assert_false(speech_at(&s, 30));
    assert_true(speech_at(&s, 59));
    assert_false(speech_at(&s, 60));

    assert_int_equal(speech_next(&s, 0), 10);
    assert_int_equal(speech_next(&s, 15), 15);
    assert_int_equal(speech_next(&s, 30), 50);
    assert_int_equal(speech_next(&s, 60), 100);

    assert_int_equal(speech_end(&s, 5), 5);
    assert_int_equal(speech_end(&s, 10), 30);
    assert_int_equal(speech_end(&s, 55), 60);
    assert_int_equal(speech_end(&s, 200), 100);

    assert_true(speech_seconds(&s, 0, 100) == 0.3);
    assert_true(speech_seconds(&s, 15, 55) == 0.2);
    assert_true(speech_seconds(&s, 30, 50) == 0.0);
    assert_true(speech_seconds(&s, 50, 50) == 0.0);
}

static void the_quietest_place_is_found(void **state)
{
    (void)state;
    noise(0, 10, 0.1f);
    noise(4, 4.4, 0.001f);
    assert_int_equal(speech_all(&speech, samples, 10 * SECOND, NULL), 0);
    assert_in_range(speech_quietest(&speech, 0, 1000), 410, 430);
    assert_in_range(speech_quietest(&speech, 0, 405), 385, 400);
    assert_int_equal(speech_quietest(&speech, 100, 110), 105);
    assert_int_equal(speech_quietest(&speech, 990, 5000), 995);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, clear, release)
    const struct CMUnitTest tests[] = {
        TEST(a_long_pause_over_faint_noise_is_passed_over),
        TEST(options_can_only_keep_more),
        TEST(one_soft_word_is_kept),
        TEST(a_noisy_recording_is_kept_whole),
        TEST(soft_speech_beside_loud_is_kept),
        TEST(digital_silence_is_passed_over),
        TEST(sound_at_either_end_is_kept),
        TEST(long_spans_are_cut_where_they_are_quietest),
        TEST(odd_recordings_have_an_answer),
        TEST(work_can_be_cancelled_and_bad_options_are_refused),
        TEST(a_recording_can_be_taken_whole),
        TEST(spans_answer_questions),
        TEST(the_quietest_place_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
