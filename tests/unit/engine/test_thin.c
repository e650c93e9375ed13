/* Nothing is swallowed: a text that says much less than there is time for is heard again,
 * and gives way to one that says the same and more. */
#include "scripted.h"

#include "base/mem.h"

/* Somebody speaks for 19 s; "a" and "c" take a moment, "p" and "q" one and two seconds at
 * least. The second segment has 9 s for one of two sentences; it is heard again with 0.2
 * s more on both sides. */
#define FIRST                                                                            \
    {                                                                                    \
        0, 20, 0,                                                                        \
        {                                                                                \
            BEGIN, 17, 1, 17, 16, BEGIN + 450, BEGIN + 450, 3, 17, BEGIN + 900           \
        }                                                                                \
    }
#define SECOND 880

static void hear(struct fixture *f, const struct line *lines, size_t n)
{
    begin_with_voice(f, lines, n);
    f->params.mode = WHISPER_MODE_BATCHED;
    assert_int_equal(go(f, 19), 0);
}

static void a_swallowed_sentence_is_found(void **state)
{
    (void)state;
    static const struct line lines[] = {
        FIRST,
        {SECOND,
         20,
         0,
         {BEGIN + 10, 3, 17, BEGIN + 210, BEGIN + 210, 4, 17, BEGIN + 460}},
    };
    static const enum whisper_mode modes[] = {WHISPER_MODE_SEQUENTIAL,
                                              WHISPER_MODE_BATCHED};
    for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
        struct fixture f;
        begin_with_voice(&f, lines, ARRAY_LENGTH(lines));
        f.params.mode = modes[i];
        assert_int_equal(go(&f, 19), 0);
        assert_int_equal(f.result.n_segments, 3);
        expect(&f, 0, "qaqp", 0, 9);
        expect(&f, 1, "cq", 9, 13);
        expect(&f, 2, "dq", 13, 18);
        assert_int_equal(f.result.report.n_notes, 1);
        const struct whisper_note *n = &f.result.report.notes[0];
        assert_int_equal(n->kind, WHISPER_NOTE_HEARD_AGAIN);
        assert_true(n->start_seconds == 9 && n->end_seconds == 18);
        assert_int_equal(net.encoded, 2);
        end(&f);
    }
}

/* What was heard first stays, after so many windows. */
static void stays(const struct line *lines, size_t n, int encoded)
{
    struct fixture f;
    hear(&f, lines, n);
    assert_int_equal(f.result.n_segments, 2);
    expect(&f, 0, "qaqp", 0, 9);
    expect(&f, 1, "cq", 9, 18);
    assert_int_equal(f.result.report.n_notes, 0);
    assert_int_equal(net.encoded, encoded);
    end(&f);
}

static void what_is_no_fuller_changes_nothing(void **state)
{
    (void)state;
    static const struct line lines[][2] = {
        /* the same */
        {FIRST, {SECOND, 20, 0, {BEGIN + 10, 3, 17, BEGIN + 460}}},
        /* hardly more */
        {FIRST, {SECOND, 20, 0, {BEGIN + 10, 3, 17, 4, 5, BEGIN + 460}}},
        /* more, but something else */
        {FIRST, {SECOND, 20, 0, {BEGIN + 10, 4, 5, 16, 6, 16, 7, 16, BEGIN + 460}}},
        /* not sure of itself */
        {FIRST, {SECOND, 6, 0, {BEGIN + 10, 3, 17, 4, 17, BEGIN + 460}}},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
        stays(lines[i], 2, 2);
}

static void slow_speech_is_not_heard_twice(void **state)
{
    (void)state;
    /* 4 s for 2 s' worth; and pauses are no speech. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 17, 1, BEGIN + 200, BEGIN + 200, 2, 3, 4, BEGIN + 400}},
    };
    struct fixture f;
    begin_with_voice(&f, lines, 1);
    f.params.mode = WHISPER_MODE_BATCHED;
    quiet_from = 5;
    quiet_to = 6.8;
    assert_int_equal(go(&f, 8), 0);
    quiet_from = quiet_to = 0;
    assert_int_equal(f.result.n_segments, 2);
    assert_int_equal(net.encoded, 1);
    end(&f);
}

static void without_a_detector_nothing_is_known(void **state)
{
    (void)state;
    static const struct line lines[] = {FIRST};
    struct fixture f;
    begin(&f, lines, 1);
    f.params.mode = WHISPER_MODE_BATCHED;
    assert_int_equal(go(&f, 19), 0);
    assert_int_equal(f.result.n_segments, 2);
    assert_int_equal(net.encoded, 1);
    end(&f);
}

static void a_whole_window_is_heard_in_halves(void **state)
{
    (void)state;
    /* The pause at 12 s is where it is cut. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 3, 17, 4, BEGIN + 600}},
        {1211, 20, 0, {BEGIN, 5, 17, 16, BEGIN + 600}},
    };
    struct line script[] = {{0, 20, 0, {BEGIN, 3, 17, 4, BEGIN + 1200}}, lines[1]};
    struct fixture f;
    begin_with_voice(&f, script, ARRAY_LENGTH(script));
    f.params.mode = WHISPER_MODE_BATCHED;
    quiet_from = 11.8;
    quiet_to = 12.4;
    assert_int_equal(go(&f, 24), 0);
    quiet_from = quiet_to = 0;
    assert_int_equal(f.result.n_segments, 2);
    assert_string_equal(f.result.segments[0].text, "cqd");
    assert_string_equal(f.result.segments[1].text, "eqp");
    assert_int_equal(net.encoded, 3);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_swallowed_sentence_is_found),
        cmocka_unit_test(what_is_no_fuller_changes_nothing),
        cmocka_unit_test(slow_speech_is_not_heard_twice),
        cmocka_unit_test(without_a_detector_nothing_is_known),
        cmocka_unit_test(a_whole_window_is_heard_in_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
