/* Windows to segments: cutting, moving on, times, prompts, and the measures of the
 * fallback ladder. Timestamps begin at id 1000. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/fallback.h"
#include "engine/prompt.h"
#include "engine/segments.h"

#include <math.h>

enum { T = 1000 };

struct cut_case {
    const char *what;
    int32_t tokens[12];
    size_t count;
    int window_frames;
    struct piece expected[4];
    size_t n_expected;
    int advance;
};

static const struct cut_case cut_cases[] = {
    {"nothing", {0}, 0, 3000, {{0}}, 0, 3000},
    {"one segment that ends the window",
     {T, 1, 2, T + 100},
     4,
     3000,
     {{0, 4, 0, 200}},
     1,
     3000},
    {"text to the end, no last timestamp",
     {T, 1, 2},
     3,
     3000,
     {{0, 3, 0, 3000}},
     1,
     3000},
    {"the same in a short last window", {T, 1, 2}, 3, 450, {{0, 3, 0, 450}}, 1, 450},
    {"no timestamp at all", {1, 2}, 2, 3000, {{0, 2, 0, 3000}}, 1, 3000},
    {"a pair and an unfinished segment",
     {T, 1, T + 100, T + 120, 2, 3},
     6,
     3000,
     {{0, 3, 0, 200}},
     1,
     200},
    {"a pair and nothing behind it",
     {T, 1, T + 100, T + 100},
     4,
     3000,
     {{0, 3, 0, 200}},
     1,
     200},
    {"pairs and a single ending",
     {T, 1, T + 100, T + 110, 2, T + 300},
     6,
     3000,
     {{0, 3, 0, 200}, {3, 6, 220, 600}},
     2,
     3000},
    {"two pairs, the third unfinished",
     {T + 5, 1, T + 100, T + 110, 2, T + 300, T + 300, 3},
     8,
     3000,
     {{0, 3, 10, 200}, {3, 6, 220, 600}},
     2,
     600},
    {"a pair at 0 may not stop the way", {T, T, 1}, 3, 3000, {{0, 1, 0, 0}}, 1, 3000},
    {"times past the recording",
     {T, 1, T + 400, T + 400, 2},
     5,
     500,
     {{0, 3, 0, 800}},
     1,
     500},
    {"a lone timestamp", {T + 9}, 1, 3000, {{0, 1, 0, 18}}, 1, 3000},
    {"text where a timestamp belongs",
     {1, T + 100, T + 110, 2, T + 300},
     5,
     3000,
     {{0, 2, 0, 200}, {2, 5, 220, 600}},
     2,
     3000},
};

static void windows_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cut_cases); i++) {
        const struct cut_case *c = &cut_cases[i];
        struct piece pieces[12];
        int advance = -1;
        size_t n =
            segments_split(c->tokens, c->count, T, c->window_frames, pieces, &advance);
        if (n != c->n_expected || advance != c->advance)
            fail_msg("%s: %zu pieces, advance %d", c->what, n, advance);
        for (size_t j = 0; j < n; j++) {
            const struct piece *got = &pieces[j], *want = &c->expected[j];
            if (got->from != want->from || got->to != want->to ||
                got->start_frame != want->start_frame ||
                got->end_frame != want->end_frame)
                fail_msg("%s: piece %zu is [%zu, %zu) %d … %d", c->what, j, got->from,
                         got->to, got->start_frame, got->end_frame);
        }
    }
}

/* Whatever a model says, the way goes on and every token has a place. */
static void any_tokens_move_on(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 20000; round++) {
        int32_t tokens[16];
        struct piece pieces[16];
        size_t count = round % 17;
        for (size_t i = 0; i < count; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            tokens[i] = x & 1 ? (int32_t)(T + (x >> 8) % 1501) : (int32_t)((x >> 8) % T);
        }
        int advance, frames = 1 + (int)(x >> 20) % 3000;
        frames = frames < 1 ? 1 : frames;
        size_t n = segments_split(tokens, count, T, frames, pieces, &advance);
        assert_true(advance >= 1 && advance <= frames);
        assert_true(n <= count);
        size_t at = 0;
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(pieces[i].from, at);
            assert_true(pieces[i].to > at);
            at = pieces[i].to;
        }
        assert_true(at <= count);
    }
}

static void times_stay_within_the_audio(void **state)
{
    (void)state;
    double start = 1, end = 5;
    assert_true(segments_clamp(&start, &end, 0, 4.5));
    assert_true(start == 1 && end == 4.5);
    start = 1, end = 5;
    assert_true(segments_clamp(&start, &end, 2, 10));
    assert_true(start == 2 && end == 5);
    start = 4.6, end = 5;
    assert_false(segments_clamp(&start, &end, 2, 4.5));
    start = 3, end = 3;
    assert_false(segments_clamp(&start, &end, 0, 10));
    start = 1, end = 2;
    assert_false(segments_clamp(&start, &end, 3, 10));
}

static void windows_end_with_the_recording(void **state)
{
    (void)state;
    assert_int_equal(segments_window_frames(0, 0), 0);
    assert_int_equal(segments_window_frames(0, WINDOW_MIN_FRAMES - 1), 0);
    assert_int_equal(segments_window_frames(0, WINDOW_MIN_FRAMES), WINDOW_MIN_FRAMES);
    assert_int_equal(segments_window_frames(0, 3000), 3000);
    assert_int_equal(segments_window_frames(0, 3001), 3000);
    assert_int_equal(segments_window_frames(3000, 3001), 0);
    assert_int_equal(segments_window_frames(3000, 3500), 500);
    assert_int_equal(segments_window_frames(4000, 3500), 0);
    assert_int_equal(segments_window_frames(INT64_MAX, 3500), 0);
}

static void repetition_is_measured(void **state)
{
    (void)state;
    float ratio = -1;
    assert_int_equal(text_compression_ratio("", 0, &ratio), 0);
    assert_true(ratio == 0);
    /* zlib.compress(b"hello") is 13 bytes long. */
    assert_int_equal(text_compression_ratio("hello", 5, &ratio), 0);
    assert_true(fabsf(ratio - 5.0f / 13) < 1e-6f);
    char same[3000];
    memset(same, 'a', sizeof(same));
    assert_int_equal(text_compression_ratio(same, sizeof(same), &ratio), 0);
    assert_true(ratio > 100);
    /* A stream longer than the bin that it is thrown into. */
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof(same); i++) {
        x = x * 1664525u + 1013904223u;
        same[i] = (char)(x >> 24);
    }
    assert_int_equal(text_compression_ratio(same, sizeof(same), &ratio), 0);
    assert_true(ratio > 0.95f && ratio < 1.0f);
}

static void space_is_trimmed(void **state)
{
    (void)state;
    const struct {
        const char *text, *trimmed;
    } cases[] = {
        {"", ""},         {" \n\t", ""},
        {" a b ", "a b"}, {"\xe3\x80\x80見\xe3\x80\x80", "見"},
        {"x", "x"},       {"\xc2\xa0\xe3\x80\x80 ", ""},
        {"é", "é"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        size_t length = strlen(cases[i].text);
        const char *t = words_trim(cases[i].text, &length);
        assert_int_equal(length, strlen(cases[i].trimmed));
        assert_memory_equal(t, cases[i].trimmed, length);
    }
}

static void the_ladder_is_climbed_for_a_reason(void **state)
{
    (void)state;
    struct whisper_params p;
    whisper_params_init(&p);
    const struct {
        struct attempt a; /* temperature, log probability, compression, no speech */
        bool again, silent;
    } cases[] = {
        {{0, -0.3f, 1.5f, 0.1f}, false, false}, {{0, -1.1f, 1.5f, 0.1f}, true, false},
        {{0, -0.3f, 2.5f, 0.1f}, true, false},  {{0, -1.0f, 2.4f, 0.1f}, false, false},
        {{0, -1.1f, 1.5f, 0.7f}, false, true},  {{0, -1.1f, 2.5f, 0.7f}, false, true},
        {{0, -0.3f, 1.5f, 0.7f}, false, false}, {{0, -0.3f, 2.5f, 0.7f}, true, false},
        {{0, -1.0f, 1.5f, 0.7f}, false, true},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_int_equal(fallback_needed(&p, &cases[i].a), cases[i].again);
        assert_int_equal(fallback_silent(&p, &cases[i].a), cases[i].silent);
    }
    const struct attempt bad = {0, -5, 9, 0.9f};
    p.no_speech_threshold = NAN;
    assert_true(fallback_needed(&p, &bad));
    assert_false(fallback_silent(&p, &bad));
    p.compression_ratio_threshold = NAN;
    p.log_prob_threshold = NAN;
    assert_false(fallback_needed(&p, &bad));
    /* Without the second measure the first decides alone, as in the reference. */
    p.no_speech_threshold = 0.6f;
    assert_true(fallback_silent(&p, &bad));
    p.compression_ratio_threshold = 0;
    assert_false(fallback_needed(&p, &bad));
}

static void the_best_of_bad_attempts(void **state)
{
    (void)state;
    struct whisper_params p;
    whisper_params_init(&p);
    const struct attempt loop = {0, -0.1f, 9, 0}, worse = {0.2f, -0.2f, 8, 0};
    const struct attempt vague = {0.4f, -1.5f, 1, 0}, vaguer = {1, -3, 1, 0};
    assert_true(fallback_better(&p, &loop, &worse));
    assert_false(fallback_better(&p, &worse, &loop));
    assert_true(fallback_better(&p, &vague, &loop));
    assert_false(fallback_better(&p, &loop, &vaguer));
    assert_true(fallback_better(&p, &vague, &vaguer));
    assert_false(fallback_better(&p, &vaguer, &vague));
    p.compression_ratio_threshold = 0;
    assert_true(fallback_better(&p, &loop, &vague));
}

static void what_was_said_before(void **state)
{
    (void)state;
    int32_t one[] = {1, 2, 3}, two[] = {4, 5}, initial[] = {90, 91};
    struct whisper_segment s[] = {{.tokens = one, .n_tokens = 3},
                                  {.tokens = two, .n_tokens = 2}};
    int32_t out[8];
    struct whisper_params p;
    whisper_params_init(&p);
    assert_int_equal(prompt_history(&p, s, 0, NULL, 0, out, 8), 0);
    assert_int_equal(prompt_history(&p, s, 0, initial, 2, out, 8), 2);
    assert_int_equal(out[1], 91);
    assert_int_equal(prompt_history(&p, s, 0, initial, 2, out, 1), 1);
    assert_int_equal(out[0], 91);
    assert_int_equal(prompt_history(&p, s, 2, initial, 2, out, 8), 0);

    const int32_t all[] = {90, 91, 1, 2, 3, 4, 5};
    p.condition_on_previous_text = true;
    assert_int_equal(prompt_history(&p, s, 2, initial, 2, out, 8), 7);
    assert_memory_equal(out, all, sizeof(all));
    assert_int_equal(prompt_history(&p, s, 2, initial, 2, out, 4), 4);
    assert_memory_equal(out, all + 3, 4 * sizeof(*all));
    s[0].temperature = 0.6f;
    assert_int_equal(prompt_history(&p, s, 2, initial, 2, out, 8), 2);
    assert_memory_equal(out, all + 5, 2 * sizeof(*all));
    s[1].compression_ratio = 2.5f; /* no temperature made it less repetitive */
    assert_int_equal(prompt_history(&p, s, 2, initial, 2, out, 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_cut),
        cmocka_unit_test(any_tokens_move_on),
        cmocka_unit_test(times_stay_within_the_audio),
        cmocka_unit_test(windows_end_with_the_recording),
        cmocka_unit_test(repetition_is_measured),
        cmocka_unit_test(space_is_trimmed),
        cmocka_unit_test(the_ladder_is_climbed_for_a_reason),
        cmocka_unit_test(the_best_of_bad_attempts),
        cmocka_unit_test(what_was_said_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
