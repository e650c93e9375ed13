/* What is heard of a recording, as one stream: every frame is found again, in both
 * directions, whatever the spans, the clips and the gaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/segments.h"
#include "engine/timeline.h"

#include <math.h>

enum { JOIN = 500 };

static uint64_t seed = 88172645463325252u;

static int64_t random_below(int64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int64_t)((seed >> 11) % (uint64_t)n);
}

static void build(struct timeline *t, const struct speech_span *spans, size_t n,
                  int64_t total)
{
    struct err e;
    assert_int_equal(timeline_build(t, spans, n, NULL, 0, total, JOIN, &e), 0);
}

static size_t random_spans(struct speech_span *spans, size_t max, int64_t *total)
{
    size_t n = (size_t)random_below((int64_t)max + 1);
    int64_t at = random_below(3) ? random_below(900) : 0;
    for (size_t i = 0; i < n; i++) {
        int64_t frames = 1 + random_below(random_below(4) ? 4000 : 20);
        spans[i] = (struct speech_span){at, at + frames};
        at += frames + (random_below(4) ? random_below(1500) : 0);
    }
    *total = at + (random_below(2) ? random_below(300) : 0);
    return n;
}

/* Is the recording's frame in a span that was not too short to be heard? */
static bool is_heard(const struct timeline *t, int64_t frame)
{
    for (size_t i = 0; i < t->n_stretches; i++) {
        if (frame >= t->stretches[i].start_frame && frame < t->stretches[i].end_frame)
            return true;
    }
    return false;
}

static void check_stretches(const struct timeline *t)
{
    int64_t at = 0, end = -1;
    for (size_t i = 0; i < t->n_stretches; i++) {
        const struct stretch *s = &t->stretches[i];
        assert_true(s->start_frame < s->end_frame);
        assert_true(s->end_frame <= t->total_frames);
        assert_true(i == 0 || s->start_frame > end);
        assert_int_equal(s->at, at);
        assert_int_equal(s->begins, i == 0 || s->start_frame - end > JOIN);
        if (s->begins)
            assert_true(timeline_to_break(t, at) >= WINDOW_MIN_FRAMES);
        at += s->end_frame - s->start_frame;
        end = s->end_frame;
    }
    assert_int_equal(t->length, at);
}

static void check_frames(const struct timeline *t)
{
    int64_t at = 0;
    for (int64_t frame = 0; frame < t->total_frames; frame++) {
        assert_int_equal(timeline_stream(t, frame), at);
        if (!is_heard(t, frame))
            continue;
        assert_int_equal(timeline_recording(t, at), frame);
        at++;
        assert_int_equal(timeline_recording_end(t, at), frame + 1);
    }
    assert_int_equal(at, t->length);
    assert_int_equal(timeline_stream(t, t->total_frames), t->length);
    assert_int_equal(timeline_recording(t, t->length), t->total_frames);
    assert_int_equal(timeline_recording_end(t, 0), 0);
}

static void every_frame_is_found_again(void **state)
{
    (void)state;
    struct timeline t = {0};
    for (int round = 0; round < 60; round++) {
        struct speech_span spans[12];
        int64_t total, spoken = 0;
        size_t n = random_spans(spans, ARRAY_LENGTH(spans), &total);
        build(&t, spans, n, total);
        check_stretches(&t);
        check_frames(&t);
        /* What is in a span and not in the stream stood alone and was too short. */
        for (size_t i = 0; i < n; i++) {
            int64_t frames = spans[i].end_frame - spans[i].start_frame;
            if (is_heard(&t, spans[i].start_frame))
                spoken += frames;
            else
                assert_true(frames < WINDOW_MIN_FRAMES);
        }
        assert_int_equal(spoken, t.length);
    }
    timeline_release(&t);
}

static void pieces_are_the_frames_of_a_window(void **state)
{
    (void)state;
    struct timeline t = {0};
    struct mel_piece *pieces = mem_array(WHISPER_WINDOW_FRAMES, sizeof(*pieces));
    assert_non_null(pieces);
    for (int round = 0; round < 200; round++) {
        struct speech_span spans[12];
        int64_t total;
        size_t n = random_spans(spans, ARRAY_LENGTH(spans), &total);
        build(&t, spans, n, total);
        if (t.length == 0)
            continue;
        int64_t at = random_below(t.length);
        int frames = 1 + (int)random_below(WHISPER_WINDOW_FRAMES);
        n = timeline_pieces(&t, at, frames, pieces, WHISPER_WINDOW_FRAMES);
        for (size_t i = 0; i < n; i++) {
            assert_true(pieces[i].frames > 0);
            for (int j = 0; j < pieces[i].frames; j++, at++, frames--)
                assert_int_equal(timeline_recording(&t, at), pieces[i].first + j);
        }
        assert_true(frames == 0 || at == t.length);
    }
    free(pieces);
    timeline_release(&t);
}

static void clips_bound_what_is_heard(void **state)
{
    (void)state;
    static const struct speech_span spans[] = {{0, 1000}, {1000, 2000}, {2300, 4000}};
    static const struct whisper_clip clips[] = {{5, 12.5}, {12.5, 24}, {39.97, INFINITY}};
    struct timeline t = {0};
    struct err e;
    assert_int_equal(timeline_build(&t, spans, 3, clips, 3, 4200, JOIN, &e), 0);
    /* The end of a clip is a break even where the speech goes on; what is left of the
     * last one holds no word. */
    static const struct stretch expected[] = {
        {500, 1250, 0, true}, {1250, 2000, 750, true}, {2300, 2400, 1500, false}};
    assert_int_equal(t.n_stretches, ARRAY_LENGTH(expected));
    for (size_t i = 0; i < t.n_stretches; i++) {
        assert_int_equal(t.stretches[i].start_frame, expected[i].start_frame);
        assert_int_equal(t.stretches[i].end_frame, expected[i].end_frame);
        assert_int_equal(t.stretches[i].at, expected[i].at);
        assert_int_equal(t.stretches[i].begins, expected[i].begins);
    }
    assert_int_equal(t.length, 1600);
    assert_int_equal(timeline_to_break(&t, 100), 650);
    assert_int_equal(timeline_to_break(&t, 750), 850);
    timeline_release(&t);
}

static void damaged_clips_do_no_harm(void **state)
{
    (void)state;
    static const struct speech_span spans[] = {{0, 1000}};
    static const struct whisper_clip clips[] = {
        {-5, 2}, {NAN, 3}, {8, 7}, {6, 9}, {1e300, INFINITY}};
    struct timeline t = {0};
    struct err e;
    assert_int_equal(timeline_build(&t, spans, 1, clips, 5, 1000, JOIN, &e), 0);
    check_frames(&t);
    timeline_release(&t);
}

/* Two stretches, a short gap, a third; a long gap, a fourth. */
static const struct speech_span talk[] = {
    {100, 300}, {500, 700}, {1000, 1200}, {1700, 2000}};

static void expect_text(const struct timeline *t, int64_t start, int64_t end,
                        int64_t from, int64_t to)
{
    int64_t start_frame, end_frame;
    timeline_text(t, start, end, &start_frame, &end_frame);
    assert_int_equal(start_frame, from);
    assert_int_equal(end_frame, to);
}

static void a_text_is_not_stretched_over_a_gap(void **state)
{
    (void)state;
    struct timeline t = {0};
    build(&t, talk, ARRAY_LENGTH(talk), 2500);
    expect_text(&t, 0, 200, 100, 300);     /* ends where the stretch ends */
    expect_text(&t, 200, 400, 500, 700);   /* begins where the stretch begins */
    expect_text(&t, 150, 250, 250, 550);   /* over a pause */
    expect_text(&t, 550, 620, 1150, 1200); /* most of it lies before the long gap */
    expect_text(&t, 590, 700, 1700, 1800); /* behind it */
    expect_text(&t, 100, 890, 200, 1200);  /* three before it, joined */
    expect_text(&t, 850, 5000, 1950, 2000);
    timeline_release(&t);
}

static void texts_stay_in_order(void **state)
{
    (void)state;
    struct timeline t = {0};
    for (int round = 0; round < 300; round++) {
        struct speech_span spans[12];
        int64_t total, before = 0, at = 0;
        size_t n = random_spans(spans, ARRAY_LENGTH(spans), &total);
        build(&t, spans, n, total);
        while (at < t.length) {
            int64_t end = at + 1 + random_below(2000), from, to;
            if (end > t.length)
                end = t.length;
            timeline_text(&t, at, end, &from, &to);
            assert_true(from >= before && to > from && to <= total);
            before = to;
            at = end;
        }
    }
    timeline_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_is_found_again),
        cmocka_unit_test(pieces_are_the_frames_of_a_window),
        cmocka_unit_test(clips_bound_what_is_heard),
        cmocka_unit_test(damaged_clips_do_no_harm),
        cmocka_unit_test(a_text_is_not_stretched_over_a_gap),
        cmocka_unit_test(texts_stay_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
