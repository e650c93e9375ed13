/* Nothing is lost: speech that no text covers is heard again, once. */
#include "scripted.h"

#include "base/mem.h"

#include <math.h>

static void expect_note(const struct fixture *f, size_t i, enum whisper_note_kind kind,
                        double start, double stop)
{
    assert_true(i < f->result.report.n_notes);
    const struct whisper_note *n = &f->result.report.notes[i];
    assert_int_equal(n->kind, kind);
    assert_true(fabs(n->start_seconds - start) < 1e-9);
    assert_true(fabs(n->end_seconds - stop) < 1e-9);
}

static void a_stretch_between_texts_is_heard_again(void **state)
{
    (void)state;
    /* Nothing from 4 to 8 s; heard with 0.2 s more on both sides. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, 17, BEGIN + 200, BEGIN + 400, 3, 17, 17, 17, BEGIN + 900}},
        {380, 20, 0, {BEGIN + 10, 2, 17, BEGIN + 210}},
    };
    static const enum whisper_mode modes[] = {WHISPER_MODE_SEQUENTIAL,
                                              WHISPER_MODE_BATCHED};
    for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
        struct fixture f;
        begin_with_voice(&f, lines, ARRAY_LENGTH(lines));
        f.params.mode = modes[i];
        assert_int_equal(go(&f, 18), 0);
        assert_int_equal(f.result.n_segments, 3);
        expect(&f, 0, "aq", 0, 4);
        expect(&f, 1, "bq", 4, 8);
        expect(&f, 2, "cqqq", 8, 18);
        assert_int_equal(f.result.report.n_notes, 1);
        expect_note(&f, 0, WHISPER_NOTE_HEARD_AGAIN, 4, 8);
        assert_int_equal(net.encoded, 2);
        end(&f);
    }
}

static void what_is_lost_twice_is_said(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 200}},
        {380, 20, 0, {0}}, /* nothing, not even a time */
    };
    struct fixture f;
    begin_with_voice(&f, lines, ARRAY_LENGTH(lines));
    f.params.mode = WHISPER_MODE_BATCHED;
    assert_int_equal(go(&f, 10), 0);
    assert_int_equal(f.result.n_segments, 1);
    assert_int_equal(f.result.report.n_notes, 1);
    expect_note(&f, 0, WHISPER_NOTE_NO_TEXT, 4, 10);
    end(&f);
}

static void what_ends_early_goes_on_there(void **state)
{
    (void)state;
    /* The window says that nothing follows, but somebody speaks. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, 17, 17, 17, BEGIN + 500}},
        {1000, 20, 0, {BEGIN, 2, 17, 16, 17, 16, 17, BEGIN + 600}},
    };
    struct fixture f;
    begin_with_voice(&f, lines, ARRAY_LENGTH(lines));
    f.params.mode = WHISPER_MODE_SEQUENTIAL;
    assert_int_equal(go(&f, 22), 0);
    assert_int_equal(f.result.n_segments, 2);
    expect(&f, 0, "aqqq", 0, 10);
    expect(&f, 1, "bqpqpq", 10, 22);
    assert_int_equal(f.result.report.n_notes, 0);
    assert_int_equal(f.watch.checkpoints[0], 1000);
    end(&f);
}

static void a_window_taken_for_silence_is_heard_in_halves(void **state)
{
    (void)state;
    /* Unsure of its text and sure of silence, while the voice detector hears somebody. A
     * pause at 12 s is where it is cut. */
    static const struct line lines[] = {
        {0, 1, 30, {BEGIN, 1, BEGIN + 100}},
        {1211, 20, 0, {BEGIN, 2, 17, 16, 17, 16, 17, BEGIN + 600}},
    };
    struct fixture f;
    begin_with_voice(&f, lines, ARRAY_LENGTH(lines));
    f.params.mode = WHISPER_MODE_BATCHED;
    quiet_from = 11.8;
    quiet_to = 12.4;
    assert_int_equal(go(&f, 24), 0);
    quiet_from = quiet_to = 0;
    assert_int_equal(f.result.n_segments, 1);
    assert_string_equal(f.result.segments[0].text, "bqpqpq");
    const struct whisper_report *r = &f.result.report;
    assert_int_equal(r->n_notes, 2);
    assert_int_equal(r->notes[0].kind, WHISPER_NOTE_NO_TEXT);
    assert_int_equal(r->notes[1].kind, WHISPER_NOTE_HEARD_AGAIN);
    end(&f);
}

static void silence_stays_silent(void **state)
{
    (void)state;
    static const struct line lines[] = {{-1, 1, 30, {BEGIN, 1, BEGIN + 100}}};
    struct fixture f;
    begin_with_voice(&f, lines, 1);
    f.params.mode = WHISPER_MODE_BATCHED;
    assert_int_equal(go(&f, 1.2), 0); /* too little to be heard again */
    assert_int_equal(f.result.n_segments, 0);
    assert_int_equal(f.result.report.n_notes, 1);
    expect_note(&f, 0, WHISPER_NOTE_NO_SPEECH, 0, 1.2);
    assert_true(f.result.report.notes[0].value > 0.9f);
    assert_int_equal(net.encoded, 1);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stretch_between_texts_is_heard_again),
        cmocka_unit_test(what_is_lost_twice_is_said),
        cmocka_unit_test(what_ends_early_goes_on_there),
        cmocka_unit_test(a_window_taken_for_silence_is_heard_in_halves),
        cmocka_unit_test(silence_stays_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
