/* When words are spoken: in the times of the recording, in order, within their segments,
 * and none over a gap. The scripted aligner shares the window out evenly. */
#include "scripted.h"

#include "base/mem.h"

#include <math.h>

static bool near(double a, double b)
{
    return fabs(a - b) < 0.011;
}

static void words_are_those_of_their_segments(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, 2, BEGIN + 250, BEGIN + 250, 3, 4, BEGIN + 500}},
    };
    struct fixture f;
    begin(&f, lines, 1);
    f.params.word_timestamps = true;
    assert_int_equal(go(&f, 10), 0);
    assert_int_equal(f.result.n_segments, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct whisper_segment *s = &f.result.segments[i];
        assert_int_equal(s->n_words, 2);
        assert_true(near(s->words[0].start_seconds, 5 * (double)i));
        assert_true(near(s->words[0].end_seconds, 5 * (double)i + 2.5));
        assert_true(s->start_seconds == s->words[0].start_seconds);
        assert_true(s->end_seconds == s->words[1].end_seconds);
        assert_true(s->words[1].probability == 0.5f);
    }
    assert_string_equal(f.result.segments[1].words[1].text, "d");
    end(&f);

    begin(&f, lines, 1);
    assert_int_equal(go(&f, 10), 0);
    assert_true(f.result.segments[0].n_words == 0 && !f.result.segments[0].words);
    end(&f);
}

/* 0 … 2.4 s and 19.5 … 22 s are heard as one window: 4.9 s of sound and four words. */
static const struct line across[] = {{-1, 20, 0, {BEGIN, 1, 2, 3, 4, BEGIN + 245}}};

static void no_text_goes_over_a_gap(void **state)
{
    (void)state;
    for (int words = 0; words < 2; words++) {
        struct fixture f;
        begin(&f, across, 1);
        f.params.word_timestamps = words;
        quiet_from = 2;
        quiet_to = 20;
        assert_int_equal(go(&f, 22), 0);
        quiet_from = quiet_to = 0;
        assert_int_equal(net.encoded, 1);
        assert_int_equal(f.result.n_segments, 2);
        const struct whisper_segment *a = &f.result.segments[0], *b = a + 1;
        assert_string_equal(a->text, "ab");
        assert_string_equal(b->text, "cd");
        assert_true(a->start_seconds == 0 && a->end_seconds <= 2.4 + 1e-9);
        assert_true(b->start_seconds >= 19.5 - 1e-9 && near(b->end_seconds, 22));
        assert_int_equal(a->n_words, words ? 2 : 0);
        end(&f);
    }
}

static void a_word_stays_by_its_segment(void **state)
{
    (void)state;
    /* The model has left out what comes behind the gap: attention puts the last words
     * there, and the segment's times say that they are not. */
    static const struct line lines[] = {{-1, 20, 0, {BEGIN, 1, 2, 3, 4, BEGIN + 110}}};
    struct fixture f;
    begin(&f, lines, 1);
    f.params.word_timestamps = true;
    quiet_from = 2;
    quiet_to = 20;
    assert_int_equal(go(&f, 22), 0);
    quiet_from = quiet_to = 0;
    assert_int_equal(f.result.n_segments, 1);
    const struct whisper_segment *s = &f.result.segments[0];
    assert_string_equal(s->text, "abcd");
    assert_int_equal(s->n_words, 4);
    assert_true(s->end_seconds <= 2.4 + 1e-9);
    for (size_t i = 1; i < 4; i++)
        assert_true(s->words[i].start_seconds >= s->words[i - 1].end_seconds);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_those_of_their_segments),
        cmocka_unit_test(no_text_goes_over_a_gap),
        cmocka_unit_test(a_word_stays_by_its_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
