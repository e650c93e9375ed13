#include "engine/segments.h"

struct cut {
    const int32_t *tokens;
    int32_t timestamp_begin;
    struct piece *pieces;
    size_t n_pieces;
};

static bool is_timestamp(const struct cut *c, size_t i)
{
    return c->tokens[i] >= c->timestamp_begin;
}

/* Frames of a timestamp; 0 for other tokens, which only a search without the grammar of
 * timestamps can put in their place. */
static int frames_at(const struct cut *c, size_t i)
{
    return is_timestamp(c, i) ? FRAMES_PER_TIMESTAMP * (c->tokens[i] - c->timestamp_begin)
                              : 0;
}

static void add_piece(struct cut *c, size_t from, size_t to)
{
    c->pieces[c->n_pieces++] =
        (struct piece){from, to, frames_at(c, from), frames_at(c, to - 1)};
}

/* No pair in it: one segment from the window's start to its last timestamp, if any. */
static void whole_window(struct cut *c, size_t count, int window_frames)
{
    int end = window_frames;
    for (size_t i = count; i-- > 0;) {
        if (!is_timestamp(c, i))
            continue;
        if (frames_at(c, i) > 0)
            end = frames_at(c, i);
        break;
    }
    c->pieces[c->n_pieces++] = (struct piece){0, count, 0, end};
}

size_t segments_split(const int32_t *tokens, size_t count, int32_t timestamp_begin,
                      int window_frames, struct piece *pieces, int *advance)
{
    struct cut c = {tokens, timestamp_begin, pieces, 0};
    *advance = window_frames;
    if (count == 0)
        return 0;

    size_t from = 0;
    for (size_t i = 1; i < count; i++) {
        if (!is_timestamp(&c, i - 1) || !is_timestamp(&c, i))
            continue;
        add_piece(&c, from, i);
        from = i;
    }
    if (c.n_pieces == 0) {
        whole_window(&c, count, window_frames);
        return c.n_pieces;
    }
    bool single_ending =
        is_timestamp(&c, count - 1) && (count < 2 || !is_timestamp(&c, count - 2));
    if (single_ending) {
        add_piece(&c, from, count);
        return c.n_pieces;
    }
    int last = frames_at(&c, from - 1);
    /* A pair at 0 would hear the same window for ever. */
    if (last > 0 && last < window_frames)
        *advance = last;
    return c.n_pieces;
}

size_t segments_cut(const int32_t *tokens, size_t count, int32_t timestamp_begin,
                    int window_frames, struct piece *pieces)
{
    int advance;
    size_t n =
        segments_split(tokens, count, timestamp_begin, window_frames, pieces, &advance);
    size_t from = n > 0 ? pieces[n - 1].to : 0;
    if (from == count)
        return n;
    struct cut c = {tokens, timestamp_begin, pieces, n};
    add_piece(&c, from, count);
    struct piece *rest = &c.pieces[n];
    if (rest->end_frame <= rest->start_frame)
        rest->end_frame = window_frames;
    return c.n_pieces;
}

bool segments_clamp(double *start_seconds, double *end_seconds, double previous_end,
                    double duration)
{
    if (*start_seconds < previous_end)
        *start_seconds = previous_end;
    if (*end_seconds > duration)
        *end_seconds = duration;
    return *start_seconds < *end_seconds;
}

int segments_window_frames(int64_t seek, int64_t total)
{
    int64_t left = total - seek;
    if (left < WINDOW_MIN_FRAMES)
        return 0;
    return left < WHISPER_WINDOW_FRAMES ? (int)left : WHISPER_WINDOW_FRAMES;
}
