/* Whatever the size of a message: the pieces, put together, are the transcript. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/parts.h"

static void fill(struct transcript *t, int segments, int notes, int votes)
{
    transcript_init(t);
    for (int i = 0; i < segments; i++) {
        char text[64];
        snprintf(text, sizeof text, " segment %d of %d", i, segments);
        struct transcript_word word = {text, i, i + 1, 0.5f};
        const struct transcript_segment s = {.id = i,
                                             .start = i,
                                             .end = i + 1,
                                             .text = text,
                                             .words = &word,
                                             .n_words = 1};
        assert_int_equal(transcript_add(t, &s), 0);
    }
    for (int i = 0; i < notes; i++) {
        const struct quality_note n = {
            .kind = QUALITY_NON_SPEECH, .start = i, .end = i + 0.5};
        assert_int_equal(quality_add_note(&t->quality, &n), 0);
    }
    for (int i = 0; i < votes; i++) {
        const struct quality_vote v = {.language = "en", .start = i, .end = i + 1};
        assert_int_equal(quality_add_vote(&t->quality, &v), 0);
    }
    t->quality.known = true;
    t->quality.audio_seconds = 7;
}

static void take(struct transcript *all, const struct buf *piece)
{
    struct transcript part;
    assert_int_equal(transcript_parse(&part, piece->data, piece->length, NULL), 0);
    for (size_t i = 0; i < part.n_segments; i++)
        assert_int_equal(transcript_add(all, &part.segments[i]), 0);
    assert_int_equal(quality_join(&all->quality, &part.quality), 0);
    transcript_release(&part);
}

/* The number of pieces. */
static int cut_and_join(const struct transcript *t, size_t max)
{
    struct transcript joined;
    struct extent sent = {0}, end = parts_all(t);
    struct buf piece, a, b;
    int pieces = 0;
    transcript_init(&joined);
    buf_init(&piece, max);
    do {
        assert_int_equal(parts_next(t, &sent, true, &piece, NULL), 0);
        assert_true(piece.length <= max);
        take(&joined, &piece);
        pieces++;
    } while (!parts_same(&sent, &end));
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    assert_int_equal(format_write(FORMAT_JSON, t, &a), 0);
    assert_int_equal(format_write(FORMAT_JSON, &joined, &b), 0);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    buf_release(&a);
    buf_release(&b);
    buf_release(&piece);
    transcript_release(&joined);
    return pieces;
}

static void pieces_come_together(void **state)
{
    (void)state;
    static const int shapes[][3] = {{0, 0, 0},  {1, 0, 0},   {0, 1, 0},  {1, 1, 1},
                                    {50, 0, 0}, {0, 200, 0}, {3, 90, 2}, {100, 100, 100}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct transcript t;
        fill(&t, shapes[i][0], shapes[i][1], shapes[i][2]);
        assert_int_equal(cut_and_join(&t, 1 << 20), 1);
        int fine = cut_and_join(&t, 1100), coarse = cut_and_join(&t, 4000);
        assert_true(fine >= coarse);
        if (i == 7)
            assert_true(coarse > 5 && fine < 500);
        transcript_release(&t);
    }
}

static void only_what_is_new_is_sent(void **state)
{
    (void)state;
    struct transcript t;
    struct extent sent = {2, 1, 0};
    struct buf piece;
    fill(&t, 3, 2, 0);
    buf_init(&piece, 10000);
    assert_int_equal(parts_next(&t, &sent, false, &piece, NULL), 0);
    assert_non_null(strstr(buf_cstr(&piece), "segment 2"));
    assert_null(strstr(buf_cstr(&piece), "segment 1 "));
    assert_null(strstr(buf_cstr(&piece), "audio_seconds"));
    assert_null(strstr(buf_cstr(&piece), "\"end\": 0.5"));
    assert_non_null(strstr(buf_cstr(&piece), "\"end\": 1.5"));
    assert_int_equal(sent.segments, 3);
    buf_release(&piece);
    transcript_release(&t);
}

static void what_fits_nowhere_is_refused(void **state)
{
    (void)state;
    struct transcript t;
    struct extent sent = {0};
    struct err e = {0};
    struct buf piece;
    fill(&t, 2, 1, 0);
    buf_init(&piece, 400);
    assert_int_equal(parts_next(&t, &sent, false, &piece, &e), ERR_TOO_LARGE);
    assert_int_equal(sent.segments, 0);
    buf_release(&piece);
    transcript_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_come_together),
        cmocka_unit_test(only_what_is_new_is_sent),
        cmocka_unit_test(what_fits_nowhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
