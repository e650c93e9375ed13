/* A second hearing with context: windows side by side are told what was said before, and
 * the more probable text stays. */
#include "scripted.h"

#include "base/mem.h"

/* Windows begin at 0, 27.9 and 55.8 s. The second is unsure while it knows nothing of the
 * first; the third has a text of its own for whoever knows the second's first text, and
 * one for whoever knows its second. */
static const struct line talk[] = {
    {0, 20, 0, {BEGIN, 1, 2, BEGIN + 1300}},
    {2790, 20, 0, {BEGIN, 3, 5, BEGIN + 1300}, .told = 2},
    {2790, 9, 0, {BEGIN, 3, 4, BEGIN + 1300}},
    {5580, 20, 0, {BEGIN, 7, 8, BEGIN + 600}, .told = 4},
    {5580, 20, 0, {BEGIN, 9, 9, BEGIN + 600}, .told = 5},
    {5580, 9, 0, {BEGIN, 7, 6, BEGIN + 600}},
};

static void start(struct fixture *f, const struct line *lines, size_t n, int batch)
{
    begin(f, lines, n);
    f->params.mode = WHISPER_MODE_BATCHED;
    f->params.batch_size = batch;
}

static void expect_texts(const struct fixture *f, const char *first, const char *second,
                         const char *third)
{
    assert_int_equal(f->result.n_segments, 3);
    assert_string_equal(f->result.segments[0].text, first);
    assert_string_equal(f->result.segments[1].text, second);
    assert_string_equal(f->result.segments[2].text, third);
}

static void the_more_probable_text_stays(void **state)
{
    (void)state;
    for (int batch = 1; batch <= WINDOWS; batch++) {
        struct fixture f;
        start(&f, talk, ARRAY_LENGTH(talk), batch);
        assert_int_equal(go(&f, 70), 0);
        expect_texts(&f, "ab", "ce", "gh");
        assert_int_equal(net.encoded, 3); /* nothing is encoded twice */
        end(&f);
    }
}

static void going_on_gives_the_same(void **state)
{
    (void)state;
    for (int after = 1; after <= 2; after++) {
        struct fixture f;
        start(&f, talk, ARRAY_LENGTH(talk), 1);
        f.watch.cancel_after = after;
        assert_int_equal(go(&f, 70), ERR_CANCELLED);
        f.watch.cancel_after = 0;
        f.params.start_frame = f.watch.checkpoints[after - 1];
        f.params.batch_size = 0;
        assert_int_equal(go(&f, 70), 0);
        expect_texts(&f, "ab", "ce", "gh");
        end(&f);
    }
}

static void it_can_be_switched_off(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, talk, ARRAY_LENGTH(talk), 0);
    f.params.context_pass = false;
    assert_int_equal(go(&f, 70), 0);
    expect_texts(&f, "ab", "cd", "gf");
    end(&f);
}

/* The second window keeps its first text. */
static void stays(const struct line *lines, size_t n)
{
    struct fixture f;
    start(&f, lines, n, 0);
    assert_int_equal(go(&f, 50), 0);
    assert_int_equal(f.result.n_segments, 2);
    assert_string_equal(f.result.segments[1].text, "cdq");
    end(&f);
}

static void what_is_no_better_changes_nothing(void **state)
{
    (void)state;
    static const struct line lines[][3] = {
        /* less probable */
        {{0, 20, 0, {BEGIN, 1, 2, BEGIN + 1300}},
         {2790, 9, 0, {BEGIN, 3, 5, 17, BEGIN + 1300}, .told = 2},
         {2790, 12, 0, {BEGIN, 3, 4, 17, BEGIN + 1300}}},
        /* something is left out */
        {{0, 20, 0, {BEGIN, 1, 2, BEGIN + 1300}},
         {2790, 20, 0, {BEGIN, 3, 4, BEGIN + 1300}, .told = 2},
         {2790, 9, 0, {BEGIN, 3, 4, 17, BEGIN + 1300}}},
        /* what was said before is too unsure to build on */
        {{0, 6, 0, {BEGIN, 1, 2, BEGIN + 1300}},
         {2790, 20, 0, {BEGIN, 3, 5, 17, BEGIN + 1300}, .told = 2},
         {2790, 9, 0, {BEGIN, 3, 4, 17, BEGIN + 1300}}},
        /* a loop */
        {{0, 20, 0, {BEGIN, 1, 2, BEGIN + 1300}},
         {2790, 20, 0, {BEGIN, 17, 17, 17, 17, 17, BEGIN + 1300}, .told = 2},
         {2790, 9, 0, {BEGIN, 3, 4, 17, BEGIN + 1300}}},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
        stays(lines[i], 3);
}

static void nothing_is_told_over_a_long_silence(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {-1, 20, 0, {BEGIN, 3, 5, BEGIN + 600}, .told = 2},
        {-1, 9, 0, {BEGIN, 1, 2, BEGIN + 1200}},
    };
    for (int silence = 0; silence < 2; silence++) {
        struct fixture f;
        begin_with_voice(&f, lines, ARRAY_LENGTH(lines));
        f.params.mode = WHISPER_MODE_BATCHED;
        quiet_from = 24;
        quiet_to = silence ? 44 : 24.5;
        assert_int_equal(go(&f, 60), 0);
        quiet_from = quiet_to = 0;
        const struct whisper_result *r = &f.result;
        assert_true(r->n_segments >= 2);
        assert_string_equal(r->segments[r->n_segments - 1].text, silence ? "ab" : "ce");
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_more_probable_text_stays),
        cmocka_unit_test(going_on_gives_the_same),
        cmocka_unit_test(it_can_be_switched_off),
        cmocka_unit_test(what_is_no_better_changes_nothing),
        cmocka_unit_test(nothing_is_told_over_a_long_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
