/* The loop breaker: what is repeated is heard again in pieces, and stays when it was
 * said. */
#include "scripted.h"

#include "base/mem.h"

#include <math.h>

static const enum whisper_mode modes[] = {WHISPER_MODE_SEQUENTIAL, WHISPER_MODE_BATCHED};

/* Somebody speaks for 20 s, with a pause of half a second in the middle of it. */
static void hear(struct fixture *f, const struct line *lines, size_t n,
                 enum whisper_mode mode)
{
    begin_with_voice(f, lines, n);
    f->params.mode = mode;
    quiet_from = 10;
    quiet_to = 10.5;
    assert_int_equal(go(f, 20), 0);
    quiet_from = quiet_to = 0;
}

static const struct whisper_note *only_note(const struct fixture *f,
                                            enum whisper_remedy remedy)
{
    assert_int_equal(f->result.report.n_notes, 1);
    const struct whisper_note *n = &f->result.report.notes[0];
    assert_int_equal(n->kind, WHISPER_NOTE_LOOP);
    assert_int_equal(n->remedy, remedy);
    return n;
}

static void what_nobody_can_say_is_heard_in_pieces(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, 17, 17, 17, 17, 17, 17, 17, 17, BEGIN + 200}},
        {1027, 20, 0, {BEGIN, 3, BEGIN + 487}},
    };
    struct line halves[ARRAY_LENGTH(lines) + 1] = {lines[0], lines[1]};
    for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
        struct fixture f;
        /* The first half says as much: it is cut again, and its parts are fine. */
        halves[2] = (struct line){-1, 20, 0, {BEGIN, 2, BEGIN + 250}};
        hear(&f, halves, ARRAY_LENGTH(halves), modes[i]);
        assert_true(f.result.n_segments >= 2);
        assert_string_equal(f.result.segments[f.result.n_segments - 1].text, "c");
        const struct whisper_note *n = &f.result.report.notes[0];
        assert_int_equal(n->kind, WHISPER_NOTE_LOOP);
        assert_int_equal(n->remedy, WHISPER_REMEDY_SPLIT);
        assert_true(n->value == 8);
        assert_string_equal(n->text, "q");
        assert_true(n->start_seconds == 0 && n->end_seconds == 20);
        end(&f);
    }
}

static void what_was_said_stays(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 17, 17, 17, 17, 17, BEGIN + 1000}},
        {1027, 20, 0, {BEGIN, 17, 17, BEGIN + 487}},
    };
    /* The window and its first half begin at the same frame: there, too, it is said. */
    for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
        struct fixture f;
        hear(&f, lines, ARRAY_LENGTH(lines), modes[i]);
        assert_int_equal(f.result.n_segments, 1);
        expect(&f, 0, "qqqqq", 0, 20);
        assert_int_equal(f.result.report.n_notes, 0);
        assert_int_equal(net.encoded, 3);
        end(&f);
    }
}

static void what_the_pieces_do_not_say_goes(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 17, 17, 17, 17, BEGIN + 1000}},
        {1027, 20, 0, {BEGIN, 1, 2, 3, 4, 5, 6, 17, 7, 17, BEGIN + 487}},
    };
    struct fixture f;
    hear(&f, lines, ARRAY_LENGTH(lines), WHISPER_MODE_BATCHED);
    assert_int_equal(f.result.n_segments, 2);
    assert_string_equal(f.result.segments[1].text, "abcdefqgq");
    const struct whisper_note *n = only_note(&f, WHISPER_REMEDY_SPLIT);
    assert_true(n->value == 4);
    assert_string_equal(n->text, "q");
    end(&f);
}

static void what_cannot_be_mended_is_cut(void **state)
{
    (void)state;
    /* Too short to be cut, and the same at every temperature: 16 s' worth in 5 s. */
    static const struct line lines[] = {
        {0, 40, 0, {BEGIN, 1, 17, 17, 17, 17, 17, 17, 17, 17, BEGIN + 250}},
    };
    struct fixture f;
    begin_with_voice(&f, lines, 1);
    assert_int_equal(go(&f, 5), 0);
    assert_int_equal(f.result.n_segments, 1);
    expect(&f, 0, "aqq", 0, 5);
    const struct whisper_note *n = only_note(&f, WHISPER_REMEDY_CUT);
    assert_true(n->value == 8);
    assert_string_equal(n->text, "q");
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_can_say_is_heard_in_pieces),
        cmocka_unit_test(what_was_said_stays),
        cmocka_unit_test(what_the_pieces_do_not_say_goes),
        cmocka_unit_test(what_cannot_be_mended_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
