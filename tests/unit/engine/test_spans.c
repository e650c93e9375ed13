#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "spans_check.h"

#include <math.h>

#include "engine/spans.h"

/* A probability stands for 3.2 mel frames. */
#define AT(probability)     ((int64_t)((probability)*512 / 160))
#define BEHIND(probability) ((int64_t)(((probability)*512 + 159) / 160))
#define MAX_PROBABILITIES   4000

static float probabilities[MAX_PROBABILITIES];
static uint8_t levels[AT(MAX_PROBABILITIES)];
static struct speech speech;
static struct whisper_vad_options options;

static int set_up(void **state)
{
    (void)state;
    memset(levels, 60, sizeof levels);
    for (size_t i = 0; i < MAX_PROBABILITIES; i++)
        probabilities[i] = 0.02f;
    /* Without padding and joining, so that spans are what the thresholds say. */
    options = (struct whisper_vad_options){
        .threshold = 0.5f, .neg_threshold = NAN, .max_speech_duration_s = INFINITY};
    return 0;
}

static int release(void **state)
{
    (void)state;
    free(speech.spans);
    speech = (struct speech){0};
    return 0;
}

static void say(size_t from, size_t to, float probability)
{
    for (size_t i = from; i < to; i++)
        probabilities[i] = probability;
    memset(levels + AT(from), probability < 0.1f ? 60 : 80, (size_t)(AT(to) - AT(from)));
}

static void find(size_t n)
{
    speech.probabilities = probabilities;
    speech.n_probabilities = n;
    speech.levels = levels;
    speech.total_frames = AT(n);
    assert_int_equal(spans_find(&speech, &options, NULL), 0);
    assert_spans(&speech);
}

static void assert_span(size_t i, int64_t start, int64_t end)
{
    assert_span_of(&speech, i, start, end);
}

static void nothing_gives_nothing(void **state)
{
    (void)state;
    find(0);
    assert_int_equal(speech.n_spans, 0);
    find(1000);
    assert_int_equal(speech.n_spans, 0);
    say(0, 1000, 0.499f);
    find(1000);
    assert_int_equal(speech.n_spans, 0);
}

static void speech_at_the_first_and_the_last_sample(void **state)
{
    (void)state;
    say(0, 10, 0.9f);
    say(90, 100, 0.9f);
    find(100);
    assert_int_equal(speech.n_spans, 2);
    assert_span(0, 0, 32);
    assert_span(1, 288, 320);
    options.speech_pad_ms = 400;
    find(100);
    assert_span(0, 0, 72);
    assert_span(1, 248, 320);
    say(0, 100, 0.9f);
    find(100);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, 0, 320);
}

static void one_probability_is_enough(void **state)
{
    (void)state;
    say(50, 51, 0.5f);
    find(100);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, AT(50), BEHIND(51));
}

static void a_span_ends_at_the_lower_threshold(void **state)
{
    (void)state;
    say(10, 11, 0.6f);
    say(11, 20, 0.36f); /* above 0.5 - 0.15 */
    find(100);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, 32, 64);
    options.neg_threshold = 0.4f;
    find(100);
    assert_span(0, 32, BEHIND(11));
    options.neg_threshold = 0.01f; /* below all of it */
    find(100);
    assert_span(0, 32, 320);
    options.neg_threshold = 0.9f; /* counts as the threshold */
    find(100);
    assert_span(0, 32, BEHIND(11));
}

static void soft_edges_belong_to_speech(void **state)
{
    (void)state;
    say(20, 30, 0.11f);
    say(30, 40, 0.9f);
    say(40, 50, 0.11f);
    say(60, 70, 0.11f); /* by itself it is nothing */
    find(100);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, AT(20), AT(50));
    options.neg_threshold = 0.35f; /* then it is as was said */
    find(100);
    assert_span(0, AT(30), AT(40));
    options.neg_threshold = NAN;
    say(0, 200, 0.11f); /* a second of it, no more */
    say(100, 110, 0.9f);
    find(200);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, AT(100 - 31), BEHIND(110 + 31));
    say(50, 60, 0.9f); /* they meet */
    find(200);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, AT(50 - 31), BEHIND(110 + 31));
}

static void a_weak_blip_that_does_not_stand_out_is_dropped(void **state)
{
    (void)state;
    say(500, 503, 0.79f);
    find(1000);
    assert_int_equal(speech.n_spans, 1); /* it is louder than the rest */
    memset(levels, 80, sizeof levels);
    find(1000);
    assert_int_equal(speech.n_spans, 0);
    options.neg_threshold = 0.35f; /* then it is as was said */
    find(1000);
    assert_int_equal(speech.n_spans, 1);
    options.neg_threshold = NAN;
    say(500, 503, 0.81f); /* surer */
    memset(levels, 80, sizeof levels);
    find(1000);
    assert_int_equal(speech.n_spans, 1);
    say(500, 504, 0.79f); /* longer */
    memset(levels, 80, sizeof levels);
    find(1000);
    assert_int_equal(speech.n_spans, 1);
    say(500, 503, 0.79f);
    say(503, 504, 0.02f);
    say(540, 560, 0.9f); /* not alone */
    memset(levels, 80, sizeof levels);
    find(1000);
    assert_int_equal(speech.n_spans, 2);
}

static void the_lower_threshold_is_never_below_a_hundredth(void **state)
{
    (void)state;
    options.threshold = 0.1f;
    say(10, 20, 0.2f);
    say(20, 100, 0.005f);
    find(100);
    assert_span(0, 32, 64);
}

static void short_pauses_are_joined(void **state)
{
    (void)state;
    say(10, 20, 0.9f);
    say(30, 40, 0.9f); /* 320 ms behind */
    options.min_silence_duration_ms = 320;
    find(100);
    assert_int_equal(speech.n_spans, 2);
    options.min_silence_duration_ms = 330;
    find(100);
    assert_int_equal(speech.n_spans, 1);
    assert_span(0, 32, 128);
}

static void short_speech_can_be_dropped(void **state)
{
    (void)state;
    say(10, 20, 0.9f); /* 320 ms */
    options.min_speech_duration_ms = 320;
    find(100);
    assert_int_equal(speech.n_spans, 1);
    options.min_speech_duration_ms = 330;
    find(100);
    assert_int_equal(speech.n_spans, 0);
    say(25, 35, 0.9f); /* joined they are long enough */
    options.min_silence_duration_ms = 500;
    find(100);
    assert_span(0, 32, 112);
}

static void neighbours_share_what_lies_between_them(void **state)
{
    (void)state;
    options.speech_pad_ms = 400;
    say(50, 60, 0.9f);
    say(75, 80, 0.9f); /* 48 frames behind */
    find(200);
    assert_int_equal(speech.n_spans, 2);
    assert_span(0, 160 - 40, 192 + 24);
    assert_span(1, 240 - 24, 256 + 40);
}

static void long_speech_is_cut_at_its_longest_late_pause(void **state)
{
    (void)state;
    /* 32 s; pauses of 320 ms at 3.2 s and 12.8 s, of 160 ms at 24 s. */
    say(0, 1000, 0.9f);
    say(100, 110, 0.02f);
    say(400, 410, 0.02f);
    say(750, 755, 0.02f);
    options.min_silence_duration_ms = 2000;
    options.max_speech_duration_s = 20;
    find(1000);
    assert_int_equal(speech.n_spans, 2);
    assert_span(0, 0, AT(400));
    assert_span(1, AT(410), AT(1000));
    options.max_speech_duration_s = 18; /* the rest is too long now */
    find(1000);
    assert_int_equal(speech.n_spans, 3);
    assert_span(0, 0, AT(400));
    assert_span(1, AT(410), AT(750));
    assert_span(2, AT(755), AT(1000));
}

static void long_speech_without_a_pause_is_cut_where_it_is_quiet(void **state)
{
    (void)state;
    say(0, 1000, 0.9f);
    memset(levels + 1500, 30, 30);
    options.max_speech_duration_s = 20;
    find(1000);
    assert_int_equal(speech.n_spans, 2);
    assert_int_equal(speech.spans[1].start_frame, speech.spans[0].end_frame);
    assert_in_range(speech.spans[0].end_frame, 1505, 1525);
    assert_span(1, speech.spans[0].end_frame, AT(1000));
}

static void no_span_lasts_longer_than_it_may(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (size_t i = 0; i < MAX_PROBABILITIES; i++) {
        seed = seed * 1664525u + 1013904223u;
        probabilities[i] = (float)(seed >> 8) / 16777216.0f;
    }
    options.min_silence_duration_ms = 300;
    for (int pad = 0; pad <= 3000; pad += 300)
        for (int seconds = 1; seconds < 31; seconds += 7) {
            options.speech_pad_ms = pad;
            options.max_speech_duration_s = (float)seconds;
            int64_t longest = seconds * 100, least = 50 + 2 * pad / 10;
            find(MAX_PROBABILITIES);
            assert_true(speech.n_spans > 0);
            for (size_t i = 0; i < speech.n_spans; i++)
                assert_true(speech.spans[i].end_frame - speech.spans[i].start_frame <=
                            (longest > least ? longest : least));
        }
}

static void what_is_said_is_kept_whatever_the_options(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (size_t i = 0; i < MAX_PROBABILITIES; i++) {
        seed = seed * 1664525u + 1013904223u;
        probabilities[i] = (float)(seed >> 8) / 16777216.0f;
    }
    for (int silence = 0; silence <= 2000; silence += 400)
        for (int pad = 0; pad <= 800; pad += 200) {
            options.min_silence_duration_ms = silence;
            options.speech_pad_ms = pad;
            options.max_speech_duration_s = silence % 800 ? 15 : INFINITY;
            find(MAX_PROBABILITIES);
            for (size_t i = 0; i < MAX_PROBABILITIES; i++)
                if (probabilities[i] >= 0.5f)
                    assert_true(speech_at(&speech, AT(i) + 1));
        }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, release)
    const struct CMUnitTest tests[] = {
        TEST(nothing_gives_nothing),
        TEST(speech_at_the_first_and_the_last_sample),
        TEST(one_probability_is_enough),
        TEST(a_span_ends_at_the_lower_threshold),
        TEST(soft_edges_belong_to_speech),
        TEST(a_weak_blip_that_does_not_stand_out_is_dropped),
        TEST(the_lower_threshold_is_never_below_a_hundredth),
        TEST(short_pauses_are_joined),
        TEST(short_speech_can_be_dropped),
        TEST(neighbours_share_what_lies_between_them),
        TEST(long_speech_is_cut_at_its_longest_late_pause),
        TEST(long_speech_without_a_pause_is_cut_where_it_is_quiet),
        TEST(no_span_lasts_longer_than_it_may),
        TEST(what_is_said_is_kept_whatever_the_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
