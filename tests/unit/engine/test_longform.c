/* The way through a recording over a scripted network: moving on, the fallback ladder,
 * silence, cancellation and going on after a break. */
#include "scripted.h"

#include "base/mem.h"

#include <math.h>

/* ---- tests ----------------------------------------------------------------------- */

/* Three windows: a pair and an unfinished text; the unfinished text heard again; the end,
 * whose times go past the recording. */
static const struct line talk[] = {
    {0, 20, 0, {BEGIN, 1, 2, BEGIN + 500, BEGIN + 600, 3}},
    {1000, 20, 0, {BEGIN + 40, 3, 4, BEGIN + 1400}},
    {4000, 20, 0, {BEGIN, 5, BEGIN + 300, BEGIN + 350, 6, BEGIN + 400}},
};
static const double talk_seconds = 47.5;

static void windows_follow_each_other(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    assert_int_equal(go(&f, talk_seconds), 0);
    assert_int_equal(f.result.n_segments, 4);
    expect(&f, 0, "ab", 0, 10);
    expect(&f, 1, "cd", 10, 38); /* one timestamp only: the window's start is its start */
    expect(&f, 2, "e", 40, 46);
    expect(&f, 3, "f", 47, 47.5);
    assert_int_equal(f.watch.n_checkpoints, 3);
    assert_int_equal(f.watch.checkpoints[0], 1000);
    assert_int_equal(f.watch.checkpoints[1], 4000);
    assert_int_equal(f.watch.checkpoints[2], 4750);
    assert_int_equal(f.watch.n_segments, 4);
    assert_int_equal(f.result.segments[2].seek_frame, 4000);
    assert_int_equal(f.result.segments[2].n_tokens, 3);
    assert_true(f.result.segments[0].temperature == 0);
    assert_true(f.result.segments[0].avg_logprob > -0.01f);
    assert_true(fabs(f.result.duration_seconds - talk_seconds) < 1e-9);
    assert_int_equal(net.encoded, 3);
    end(&f);
}

static void a_language_is_detected_once(void **state)
{
    (void)state;
    struct fixture f;
    struct line chinese[ARRAY_LENGTH(talk)];
    memcpy(chinese, talk, sizeof(talk));
    for (size_t i = 0; i < ARRAY_LENGTH(talk); i++)
        chinese[i].zh = 4;
    begin(&f, chinese, ARRAY_LENGTH(chinese));
    f.params.language = "auto";
    assert_int_equal(go(&f, talk_seconds), 0);
    assert_int_equal(f.watch.n_languages, 1);
    assert_int_equal(f.watch.language, 1);
    assert_int_equal(f.result.language, 1);
    assert_true(fabsf(f.result.language_probability - 0.9820f) < 1e-3f); /* e⁴/(e⁴+1) */
    assert_int_equal(net.prompt[1], ZH);
    assert_int_equal(net.encoded, 3); /* the first window is not encoded twice */
    end(&f);
}

static void going_on_gives_the_same(void **state)
{
    (void)state;
    for (int after = 1; after <= 2; after++) {
        struct fixture whole, f;
        begin(&whole, talk, ARRAY_LENGTH(talk));
        whole.params.condition_on_previous_text = true;
        assert_int_equal(go(&whole, talk_seconds), 0);
        struct net before = net;

        begin(&f, talk, ARRAY_LENGTH(talk));
        f.params.condition_on_previous_text = true;
        f.watch.cancel_after = after;
        assert_int_equal(go(&f, talk_seconds), ERR_CANCELLED);
        assert_int_equal(f.watch.n_checkpoints, after);
        f.watch.cancel_after = 0;
        f.params.start_frame = f.watch.checkpoints[after - 1];
        assert_int_equal(go(&f, talk_seconds), 0);
        assert_int_equal(f.result.n_segments, whole.result.n_segments);
        for (size_t i = 0; i < f.result.n_segments; i++) {
            const struct whisper_segment *s = &whole.result.segments[i];
            expect(&f, i, s->text, s->start_seconds, s->end_seconds);
            assert_int_equal(f.result.segments[i].id, i);
        }
        assert_int_equal(net.n_prompt, before.n_prompt);
        assert_memory_equal(net.prompt, before.prompt, sizeof(net.prompt));
        end(&f);
        end(&whole);
    }
}

static void what_was_said_is_the_next_prompt(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    f.params.condition_on_previous_text = true;
    f.params.initial_prompt = " abcd ";
    assert_int_equal(go(&f, talk_seconds), 0);
    /* 11 tokens of history at most, half a context less one: "a" has made room. */
    const int32_t expected[] = {25,  2,           3,          4, BEGIN, 1,
                                2,   BEGIN + 500, BEGIN + 40, 3, 4,     BEGIN + 1400,
                                SOT, EN,          23};
    assert_int_equal(net.n_prompt, ARRAY_LENGTH(expected));
    assert_memory_equal(net.prompt, expected, sizeof(expected));
    end(&f);
}

static void by_default_nothing_is_carried_over(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    f.params.initial_prompt = "hi";
    f.watch.cancel_after = 1;
    assert_int_equal(go(&f, talk_seconds), ERR_CANCELLED);
    const int32_t first[] = {25, 8, 9, SOT, EN, 23};
    assert_int_equal(net.n_prompt, ARRAY_LENGTH(first));
    assert_memory_equal(net.prompt, first, sizeof(first));
    f.watch.cancel_after = 0;
    f.params.start_frame = 1000;
    assert_int_equal(go(&f, talk_seconds), 0);
    assert_int_equal(net.n_prompt, 3);
    end(&f);
}

static bool same_text(const struct whisper_result *a, const struct whisper_result *b)
{
    bool same = a->n_segments == b->n_segments;
    for (size_t i = 0; same && i < a->n_segments; i++)
        same = strcmp(a->segments[i].text, b->segments[i].text) == 0;
    return same;
}

/* A little more than all timestamps together: each token has half the probability, a
 * logarithm of -0.6. */
static const struct line unsure[] = {{-1, 7.5f, 0, {BEGIN, 1, 2, BEGIN + 40}}};

static void improbable_text_is_tried_again(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, unsure, 1);
    f.params.n_temperatures = 1;
    assert_int_equal(go(&f, 0.85), 0);
    expect(&f, 0, "ab", 0, 0.8);
    int once = net.decoded;
    end(&f);

    begin(&f, unsure, 1);
    f.params.log_prob_threshold = -0.3f;
    assert_int_equal(go(&f, 0.85), 0);
    /* No temperature is good enough: the most probable text is kept. */
    expect(&f, 0, "ab", 0, 0.8);
    assert_true(f.result.segments[0].temperature < 1.0f);
    assert_int_equal(net.encoded, 1);
    assert_true(net.decoded >= once + 5);
    end(&f);

    begin(&f, unsure, 1);
    assert_int_equal(go(&f, 0.85), 0);
    expect(&f, 0, "ab", 0, 0.8);
    assert_int_equal(net.decoded, once);
    end(&f);
}

static void a_seed_repeats_itself(void **state)
{
    (void)state;
    struct fixture f, again;
    begin(&f, unsure, 1);
    f.params.temperatures[0] = 1.0f;
    f.params.n_temperatures = 1;
    f.params.best_of = 1; /* of several, the likeliest text would win */
    assert_int_equal(go(&f, 20), 0);
    assert_true(f.result.n_segments >= 1);
    assert_true(f.result.segments[0].temperature == 1.0f);

    begin(&again, unsure, 1);
    again.params = f.params;
    assert_int_equal(go(&again, 20), 0);
    assert_true(same_text(&again.result, &f.result));
    end(&again);

    begin(&again, unsure, 1);
    again.params = f.params;
    again.params.seed = 7;
    assert_int_equal(go(&again, 20), 0);
    assert_false(same_text(&again.result, &f.result));
    end(&again);
    end(&f);
}

static void silence_is_skipped(void **state)
{
    (void)state;
    static const struct line quiet[] = {
        {0, 1, 30, {BEGIN, 1, BEGIN + 40}},
        {3000, 20, 30, {BEGIN, 2, BEGIN + 40}}, /* sure of its text: speech after all */
    };
    struct fixture f;
    begin(&f, quiet, 2);
    assert_int_equal(go(&f, 40), 0);
    assert_int_equal(f.result.n_segments, 1);
    expect(&f, 0, "b", 30, 30.8);
    assert_true(f.result.segments[0].no_speech_prob > 0.9f);
    assert_int_equal(f.watch.n_checkpoints, 2);
    assert_int_equal(f.watch.checkpoints[0], 3000);
    /* No other temperature was tried in silence. */
    assert_true(net.decoded < 20);
    end(&f);
}

static void quiet_is_passed_over(void **state)
{
    (void)state;
    /* The first window goes on half a second before it sounds again, at 20.5 s; its text
     * ends a tenth of a second behind that. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 100, BEGIN + 100}},
        {2010, 20, 0, {BEGIN, 2, BEGIN + 40}},
    };
    struct fixture f;
    begin(&f, lines, 2);
    quiet_from = 1.5;
    quiet_to = 20.5;
    assert_int_equal(go(&f, 40), 0);
    quiet_from = quiet_to = 0;
    assert_int_equal(f.result.n_segments, 2);
    /* 0.4 s of the quiet are heard behind the sound, and no text lasts longer. */
    expect(&f, 0, "a", 0, 1.9);
    expect(&f, 1, "b", 20.1, 20.9);
    assert_int_equal(net.encoded, 2);
    assert_int_equal(f.watch.n_checkpoints, 2);
    assert_int_equal(f.watch.checkpoints[0], 2010);
    assert_int_equal(f.watch.checkpoints[1], 4000);
    const struct whisper_report *report = &f.result.report;
    assert_int_equal(report->detector, WHISPER_DETECTOR_ENERGY);
    assert_true(fabs(report->audio_seconds - 40) < 1e-9);
    assert_true(fabs(report->speech_seconds - 21.9) < 1e-9);
    assert_true(fabs(report->text_seconds - 2.7) < 1e-9);
    assert_int_equal(report->n_notes, 1);
    assert_int_equal(f.watch.n_notes, 1);
    assert_int_equal(report->notes[0].kind, WHISPER_NOTE_NON_SPEECH);
    assert_true(fabs(report->notes[0].start_seconds - 1.9) < 1e-9);
    assert_true(fabs(report->notes[0].end_seconds - 20) < 1e-9);
    end(&f);
}

static void without_a_filter_all_is_heard(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 100, BEGIN + 100}},
        {200, 20, 0, {BEGIN, 2, BEGIN + 40}},
        {3200, 20, 0, {BEGIN, 3, BEGIN + 40}},
    };
    struct fixture f;
    begin(&f, lines, ARRAY_LENGTH(lines));
    f.params.vad_filter = false;
    quiet_from = 1.5;
    quiet_to = 20.5;
    assert_int_equal(go(&f, 40), 0);
    quiet_from = quiet_to = 0;
    assert_int_equal(f.result.n_segments, 3);
    assert_int_equal(f.result.report.detector, WHISPER_DETECTOR_OFF);
    assert_true(fabs(f.result.report.speech_seconds - 40) < 1e-9);
    assert_int_equal(f.result.report.n_notes, 0);
    end(&f);
}

static void only_the_clips_are_heard(void **state)
{
    (void)state;
    static const struct whisper_clip clips[] = {{4, 6}, {6, 7.5}, {39, INFINITY}};
    static const struct line lines[] = {
        {400, 20, 0, {BEGIN, 1, BEGIN + 100, BEGIN + 100}},
        {600, 20, 0, {BEGIN, 2, BEGIN + 900}}, /* past its clip's end */
        {3900, 20, 0, {BEGIN, 3, BEGIN + 40}},
    };
    struct fixture f;
    begin(&f, lines, ARRAY_LENGTH(lines));
    f.params.clips = clips;
    f.params.n_clips = ARRAY_LENGTH(clips);
    assert_int_equal(go(&f, 40), 0);
    assert_int_equal(f.result.n_segments, 3);
    expect(&f, 0, "a", 4, 6);
    expect(&f, 1, "b", 6, 7.5);
    expect(&f, 2, "c", 39, 39.8);
    assert_int_equal(f.watch.checkpoints[0], 600);
    assert_int_equal(f.watch.checkpoints[1], 3900);
    assert_int_equal(f.watch.checkpoints[2], 4000);
    end(&f);
}

static void nothing_is_heard_in_nothing(void **state)
{
    (void)state;
    static const struct line late[] = {{3000, 20, 0, {BEGIN, 2, BEGIN + 40}}};
    struct fixture f;
    begin(&f, late, 1);
    f.params.language = "auto";
    void_frames = 3000;
    assert_int_equal(go(&f, 40), 0);
    assert_int_equal(f.result.n_segments, 1);
    expect(&f, 0, "b", 30, 30.8);
    assert_int_equal(f.watch.n_checkpoints, 2);
    assert_int_equal(f.watch.n_languages, 1); /* told by the window with sound */
    assert_int_equal(net.encoded, 1);
    end(&f);

    begin(&f, NULL, 0);
    f.params.language = "auto";
    void_frames = 9000;
    assert_int_equal(go(&f, 40), 0);
    assert_int_equal(f.result.n_segments, 0);
    assert_int_equal(f.result.language, -1);
    assert_int_equal(f.watch.n_languages, 0);
    assert_int_equal(f.watch.n_checkpoints, 2);
    assert_int_equal(net.encoded, 0);
    void_frames = 0;
    end(&f);
}

static void segments_without_text_or_time_go(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0,
         20,
         0,
         {BEGIN + 2, 19, BEGIN + 40, BEGIN + 40, 2, BEGIN + 90, BEGIN + 1000, 3,
          BEGIN + 1100}},
    };
    struct fixture f;
    begin(&f, lines, 1);
    assert_int_equal(go(&f, 15), 0);
    /* White space alone; text; text that begins after the end of the audio. */
    assert_int_equal(f.result.n_segments, 1);
    expect(&f, 0, "b", 0.8, 1.8);
    assert_int_equal(f.result.segments[0].id, 0);
    end(&f);
}

static void endless_text_ends(void **state)
{
    (void)state;
    static const struct line endless[] = {
        {0, 30, 0, {BEGIN, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
    };
    struct fixture f;
    begin(&f, endless, 1);
    f.params.n_temperatures = 1;
    f.params.condition_on_previous_text = true;
    f.params.initial_prompt = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_int_equal(go(&f, 20), 0);
    assert_int_equal(f.result.n_segments, 1);
    /* 15 tokens of prompt in a context of 24, and one that is chosen but not read. */
    assert_int_equal(f.result.segments[0].n_tokens, 10);
    expect(&f, 0, "abcdefghi", 0, 20);
    end(&f);
}

static void no_audio_is_no_text(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL, 0);
    f.params.language = NULL;
    assert_int_equal(go(&f, 0), 0);
    assert_int_equal(f.result.n_segments, 0);
    assert_int_equal(f.result.language, -1);
    assert_int_equal(go(&f, 0.05), 0);
    assert_int_equal(net.encoded, 0);
    f.params.language = "zh";
    assert_int_equal(go(&f, 0), 0);
    assert_int_equal(f.watch.language, 1);
    end(&f);
}

static void a_cancelled_start_does_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    f.watch.cancel_after = 1;
    f.watch.n_checkpoints = 1;
    assert_int_equal(go(&f, talk_seconds), ERR_CANCELLED);
    assert_int_equal(net.encoded, 0);
    assert_non_null(strstr(f.e.message, "cancelled"));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_follow_each_other),
        cmocka_unit_test(a_language_is_detected_once),
        cmocka_unit_test(going_on_gives_the_same),
        cmocka_unit_test(what_was_said_is_the_next_prompt),
        cmocka_unit_test(by_default_nothing_is_carried_over),
        cmocka_unit_test(improbable_text_is_tried_again),
        cmocka_unit_test(a_seed_repeats_itself),
        cmocka_unit_test(silence_is_skipped),
        cmocka_unit_test(quiet_is_passed_over),
        cmocka_unit_test(without_a_filter_all_is_heard),
        cmocka_unit_test(only_the_clips_are_heard),
        cmocka_unit_test(nothing_is_heard_in_nothing),
        cmocka_unit_test(segments_without_text_or_time_go),
        cmocka_unit_test(endless_text_ends),
        cmocka_unit_test(no_audio_is_no_text),
        cmocka_unit_test(a_cancelled_start_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
