/* What spans of speech are in any finder's result. */
#ifndef TESTS_SPANS_CHECK_H
#define TESTS_SPANS_CHECK_H

#include "engine/speech.h"

/* Ascending, disjoint, none empty, all within the recording. */
static inline void assert_spans(const struct speech *s)
{
    int64_t last = 0;
    for (size_t i = 0; i < s->n_spans; i++) {
        assert_true(s->spans[i].start_frame >= last);
        assert_true(s->spans[i].end_frame > s->spans[i].start_frame);
        last = s->spans[i].end_frame;
    }
    assert_true(last <= s->total_frames);
}

static inline void assert_span_of(const struct speech *s, size_t i, int64_t start,
                                  int64_t end)
{
    assert_true(i < s->n_spans);
    assert_int_equal(s->spans[i].start_frame, start);
    assert_int_equal(s->spans[i].end_frame, end);
}

#endif
