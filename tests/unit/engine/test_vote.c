/* Which language is spoken: votes, and a language for each window. */
#include "scripted.h"

#include "base/mem.h"
#include "engine/vote.h"

#include <math.h>

static void votes_count_by_probability_and_length(void **state)
{
    (void)state;
    static const float sure[] = {0.9f, 0.1f, 0}, unsure[] = {0.2f, 0.45f, 0.35f};
    struct election v = {.n_languages = 3};
    float p = -1;
    assert_int_equal(vote_result(&v, &p), 0);
    assert_true(p == 0);
    vote_add(&v, unsure, 3000);
    assert_int_equal(vote_result(&v, &p), 1);
    assert_true(fabsf(p - 0.45f) < 1e-6f);
    vote_add(&v, sure, 100); /* short: it changes nothing */
    assert_int_equal(vote_result(&v, &p), 1);
    vote_add(&v, sure, 3000);
    assert_int_equal(vote_result(&v, &p), 0);
    assert_true(fabsf(p - (0.2f * 3000 + 0.9f * 3100) / 6100) < 1e-5f);
}

/* 70 s are windows at 0, 29.9 and 59.8 s; 110 s are two more. */
static void several_windows_decide(void **state)
{
    (void)state;
    /* The first is unsure and for English, the others for Chinese. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 500}, -1},
        {2990, 20, 0, {BEGIN, 2, BEGIN + 500}, 3},
        {5980, 20, 0, {BEGIN, 3, BEGIN + 400}, 3},
    };
    struct fixture f;
    begin(&f, lines, ARRAY_LENGTH(lines));
    f.params.language = "auto";
    f.params.mode = WHISPER_MODE_BATCHED;
    assert_int_equal(go(&f, 70), 0);
    assert_int_equal(f.result.language, 1);
    assert_int_equal(f.watch.n_languages, 1);
    const struct whisper_report *r = &f.result.report;
    assert_int_equal(r->n_votes, 3);
    assert_int_equal(r->votes[0].language, 0);
    assert_true(fabsf(r->votes[0].probability - 0.7311f) < 1e-3f);
    assert_int_equal(r->votes[2].language, 1);
    assert_true(fabs(r->votes[2].start_seconds - 59.8) < 1e-9);
    assert_true(fabs(r->votes[2].end_seconds - 70) < 1e-9);
    for (size_t i = 0; i < f.result.n_segments; i++)
        assert_int_equal(f.result.segments[i].language, 1);
    assert_int_equal(net.encoded, 3); /* what has voted is not encoded again */
    end(&f);
}

static void in_a_short_recording_a_sure_window_decides(void **state)
{
    (void)state;
    static const struct line lines[] = {{-1, 20, 0, {BEGIN, 1, BEGIN + 1500}, 4}};
    for (int windows = 2; windows <= 4; windows += 2) {
        struct fixture f;
        begin(&f, lines, 1);
        f.params.language = NULL;
        f.params.mode = WHISPER_MODE_SEQUENTIAL;
        assert_int_equal(go(&f, windows == 2 ? 50 : 125), 0);
        assert_int_equal(f.result.language, 1);
        assert_int_equal(f.result.report.n_votes, windows == 2 ? 1 : 4);
        end(&f);
    }
}

static void a_given_language_is_not_voted_on(void **state)
{
    (void)state;
    static const struct line lines[] = {{-1, 20, 0, {BEGIN, 1, BEGIN + 1500}, 9}};
    struct fixture f;
    begin(&f, lines, 1);
    assert_int_equal(go(&f, 50), 0);
    assert_int_equal(f.result.language, 0);
    assert_int_equal(f.result.report.n_votes, 0);
    assert_true(f.result.language_probability == 1);
    end(&f);
}

static void each_window_may_have_its_own(void **state)
{
    (void)state;
    /* Windows of at most 15 s: English, surely Chinese, perhaps Chinese. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 700}, -5},
        {1490, 20, 0, {BEGIN, 2, BEGIN + 700}, 5},
        {2980, 20, 0, {BEGIN, 3, BEGIN + 25}, 1},
    };
    struct fixture f;
    begin(&f, lines, ARRAY_LENGTH(lines));
    f.params.mode = WHISPER_MODE_BATCHED;
    f.params.multilingual = true;
    assert_int_equal(go(&f, 32), 0);
    assert_int_equal(f.result.n_segments, 3);
    assert_int_equal(f.result.segments[0].language, 0);
    assert_int_equal(f.result.segments[1].language, 1);
    assert_int_equal(f.result.segments[2].language, 0); /* two seconds are too little */
    assert_int_equal(f.result.language, 0);
    end(&f);
}

static void languages_are_told_apart(void **state)
{
    (void)state;
    struct fixture f;
    static const struct line chinese[] = {{-1, 20, 0, {0}, 2}};
    begin(&f, chinese, 1);
    float *p = mem_array((size_t)whisper_language_count(), sizeof(*p));
    float samples[16000];
    int language = -1;
    for (size_t i = 0; i < ARRAY_LENGTH(samples); i++)
        samples[i] = i % 2 ? 0.1f : -0.1f;
    p[5] = 9;
    assert_int_equal(
        whisper_detect_language(f.session, samples, 16000, &language, p, &f.e), 0);
    assert_int_equal(language, 1);
    assert_true(fabsf(p[0] + p[1] - 1) < 1e-6f && p[1] > 0.8f);
    assert_true(p[5] == 0);
    memset(samples, 0, sizeof(samples)); /* one is as probable as another */
    assert_int_equal(
        whisper_detect_language(f.session, samples, 16000, &language, p, &f.e), 0);
    assert_true(p[0] == 0.5f && p[1] == 0.5f && p[2] == 0);
    f.model.config.multilingual = false;
    assert_int_equal(
        whisper_detect_language(f.session, samples, 16000, &language, p, &f.e),
        ERR_UNSUPPORTED);
    free(p);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(votes_count_by_probability_and_length),
        cmocka_unit_test(several_windows_decide),
        cmocka_unit_test(in_a_short_recording_a_sure_window_decides),
        cmocka_unit_test(a_given_language_is_not_voted_on),
        cmocka_unit_test(each_window_may_have_its_own),
        cmocka_unit_test(languages_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
