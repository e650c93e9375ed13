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

/* What of 0.99 a window gives to languages 0, 1 and 2; all the rest goes to 3. */
struct cast {
    float p[3];
    int frames;
};

static bool mixed(const struct cast *casts, size_t n)
{
    struct election v = {.n_languages = 4};
    for (size_t i = 0; i < n; i++) {
        const float *p = casts[i].p;
        const float all[] = {p[0], p[1], p[2], 1 - p[0] - p[1] - p[2]};
        vote_add(&v, all, casts[i].frames);
    }
    return vote_is_mixed(&v);
}
#define MIXED(...)                                                                       \
    mixed((const struct cast[]){__VA_ARGS__},                                            \
          sizeof((struct cast[]){__VA_ARGS__}) / sizeof(struct cast))

static void what_makes_a_recording_mixed(void **state)
{
    (void)state;
    struct election none = {.n_languages = 4};
    assert_false(vote_is_mixed(&none));
    assert_false(MIXED({{0.99f, 0, 0}, 3000}));
    assert_false(MIXED({{0.99f, 0, 0}, 3000}, {{0.9f, 0.05f, 0}, 3000}));
    /* Each of two windows is sure. */
    assert_true(MIXED({{0.99f, 0, 0}, 3000}, {{0.05f, 0.9f, 0}, 2500}));
    assert_true(MIXED({{0.99f, 0, 0}, 3000}, {{0.9f, 0, 0}, 3000}, {{0.8f, 0, 0}, 3000},
                      {{0, 0, 0.82f}, 400}));
    /* In four languages nobody has most of the votes, and one wins all the same. */
    assert_true(MIXED({{0.99f, 0, 0}, 2900}, {{0, 0.98f, 0}, 2800}, {{0, 0, 0.99f}, 2700},
                      {{0, 0, 0}, 2600}));
    /* One doubts. */
    assert_false(MIXED({{0.99f, 0, 0}, 3000}, {{0.05f, 0.75f, 0}, 2500}));
    /* It may be the winner's after all. */
    assert_false(MIXED({{0.99f, 0, 0}, 3000}, {{0.15f, 0.84f, 0}, 3000}));
    /* A name, a cry. */
    assert_false(MIXED({{0.99f, 0, 0}, 3000}, {{0, 0.99f, 0}, 299}));
    /* No window is sure of the winner: which is the other? */
    assert_false(MIXED({{0.7f, 0.3f, 0}, 3000}, {{0.7f, 0.3f, 0}, 3000},
                       {{0.05f, 0, 0.95f}, 2000}));
    assert_false(
        MIXED({{0.99f, 0, 0}, 200}, {{0.7f, 0.2f, 0}, 3000}, {{0, 0.9f, 0}, 1000}));
}

/* 120 s: the windows that vote are at 0, 29.9, 59.8 and 89.7 s; those of 15 s each that
 * are heard begin every 14.9 s. The first half is English, the other one Chinese. */
static const struct line half_and_half[] = {
    {0, 20, 0, {BEGIN, 1, BEGIN + 700}, -5},
    {1490, 20, 0, {BEGIN, 2, BEGIN + 700}, -5},
    {2980, 20, 0, {BEGIN, 3, BEGIN + 700}, -5},
    {2990, 20, 0, {BEGIN, 15, BEGIN + 700}, -5},
    {4470, 20, 0, {BEGIN, 4, BEGIN + 700}, -5},
    {5960, 20, 0, {BEGIN, 5, BEGIN + 700}, 6},
    {-1, 20, 0, {BEGIN, 6, BEGIN + 700}, 6},
};

static void begin_mixed(struct fixture *f)
{
    begin(f, half_and_half, ARRAY_LENGTH(half_and_half));
    f->params.language = "auto";
    f->params.mode = WHISPER_MODE_BATCHED;
    f->params.batch_size = 1;
}

static void a_mixed_recording_is_heard_in_each_language(void **state)
{
    (void)state;
    struct fixture f;
    begin_mixed(&f);
    assert_int_equal(go(&f, 120), 0);
    assert_true(f.result.multilingual);
    assert_int_equal(f.watch.n_languages, 1);
    assert_int_equal(f.result.report.n_votes, 4);
    assert_int_equal(f.result.n_segments, 9);
    for (size_t i = 0; i < f.result.n_segments; i++)
        assert_int_equal(f.result.segments[i].language, i >= 4);
    expect(&f, 1, "b", 14.9, 28.9);
    expect(&f, 4, "e", 59.6, 73.6);
    end(&f);
}

/* What is asked for is done, and one voice does not make a choir. */
static void others_stay_in_one(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct fixture f;
        begin_mixed(&f);
        if (i == 0)
            f.params.language = "en";
        else if (i == 1)
            f.params.language_detection_segments = 1;
        else
            f.model.config.multilingual = false;
        assert_int_equal(go(&f, 120), 0);
        assert_false(f.result.multilingual);
        assert_int_equal(f.result.n_segments, 5);
        for (size_t k = 0; k < f.result.n_segments; k++)
            assert_int_equal(f.result.segments[k].language, 0);
        end(&f);
    }
}

/* After a break at any window the rest is heard as if there had been none: also where
 * nobody but a new vote can tell that the recording is mixed. */
static void a_mixed_recording_goes_on_as_it_was(void **state)
{
    (void)state;
    struct fixture whole;
    begin_mixed(&whole);
    assert_int_equal(go(&whole, 120), 0);
    int n = whole.watch.n_checkpoints;
    for (int after = 1; after < n; after++) {
        for (int told = 0; told < 2; told++) {
            struct fixture f;
            begin_mixed(&f);
            f.watch.cancel_after = after;
            assert_int_equal(go(&f, 120), ERR_CANCELLED);
            assert_int_equal(f.watch.n_checkpoints, after);
            f.watch.cancel_after = 0;
            f.params.start_frame = f.watch.checkpoints[after - 1];
            f.params.known_language = whisper_language_code(whole.result.language);
            f.params.multilingual = told;
            int votes = (int)f.result.report.n_votes;
            assert_int_equal(go(&f, 120), 0);
            assert_int_equal(f.result.report.n_votes, told ? votes : 2 * votes);
            assert_true(f.result.multilingual);
            assert_int_equal(f.result.language, whole.result.language);
            assert_int_equal(f.watch.n_checkpoints, n);
            assert_int_equal(f.result.n_segments, whole.result.n_segments);
            for (size_t i = 0; i < f.result.n_segments; i++) {
                const struct whisper_segment *s = &whole.result.segments[i];
                expect(&f, i, s->text, s->start_seconds, s->end_seconds);
                assert_int_equal(f.result.segments[i].language, s->language);
            }
            end(&f);
        }
    }
    end(&whole);
}

static void a_known_language_stays(void **state)
{
    (void)state;
    static const struct line lines[] = {{-1, 20, 0, {BEGIN, 1, BEGIN + 1500}, 9}};
    struct fixture f;
    begin(&f, lines, 1);
    f.params.language = "auto";
    f.params.known_language = "en";
    assert_int_equal(go(&f, 50), 0);
    assert_int_equal(f.result.language, 0);
    assert_false(f.result.multilingual);
    assert_int_equal(f.result.segments[0].language, 0);
    f.params.known_language = "de"; /* the third language; this model has two */
    assert_int_equal(go(&f, 50), ERR_INVALID);
    assert_non_null(strstr(f.e.message, "\"de\""));
    end(&f);
}

/* 70 s are windows at 0, 27.9 and 55.8 s; 110 s are two more. */
static void several_windows_decide(void **state)
{
    (void)state;
    /* The first is unsure and for English, the others for Chinese. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 500}, -1},
        {2790, 20, 0, {BEGIN, 2, BEGIN + 500}, 3},
        {5580, 20, 0, {BEGIN, 3, BEGIN + 400}, 3},
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
    assert_true(fabs(r->votes[2].start_seconds - 55.8) < 1e-9);
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
        cmocka_unit_test(what_makes_a_recording_mixed),
        cmocka_unit_test(a_mixed_recording_is_heard_in_each_language),
        cmocka_unit_test(others_stay_in_one),
        cmocka_unit_test(a_mixed_recording_goes_on_as_it_was),
        cmocka_unit_test(a_known_language_stays),
        cmocka_unit_test(several_windows_decide),
        cmocka_unit_test(in_a_short_recording_a_sure_window_decides),
        cmocka_unit_test(a_given_language_is_not_voted_on),
        cmocka_unit_test(each_window_may_have_its_own),
        cmocka_unit_test(languages_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
