#include "engine/timeline.h"

#include "base/mem.h"
#include "engine/segments.h"

/* ---- building -------------------------------------------------------------------- */

struct build {
    struct timeline *t;
    int64_t join;
    bool fresh;   /* a clip has ended since the last stretch */
    size_t first; /* of the stretches since the last break */
    struct err *e;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What was joined since the last break goes when it is too short for a window. */
static void finish_part(struct build *b)
{
    struct timeline *t = b->t;
    if (b->first == t->n_stretches)
        return;
    int64_t at = t->stretches[b->first].at;
    if (t->length - at < WINDOW_MIN_FRAMES) {
        t->n_stretches = b->first;
        t->length = at;
    }
    b->first = t->n_stretches;
}

static int add(struct build *b, int64_t start, int64_t end)
{
    struct timeline *t = b->t;
    struct stretch *last = t->n_stretches ? &t->stretches[t->n_stretches - 1] : NULL;
    bool begins = !last || b->first == t->n_stretches || b->fresh ||
                  start - last->end_frame > b->join;
    b->fresh = false;
    if (!begins && last->end_frame == start) {
        last->end_frame = end;
        t->length += end - start;
        return 0;
    }
    if (begins)
        finish_part(b);
    if (mem_grow(&t->stretches, &t->capacity, t->n_stretches + 1, sizeof(*last)) < 0)
        return err_set(b->e, ERR_NOMEM, "no memory is left for the stretches of speech");
    t->stretches[t->n_stretches++] = (struct stretch){start, end, t->length, begins};
    t->length += end - start;
    return 0;
}

/* The nearest frame, within the recording. */
static int64_t frame_of(double seconds, int64_t total)
{
    double frame = seconds * WHISPER_FRAMES_PER_SECOND + 0.5;
    if (!(frame > 0))
        return 0;
    return frame < (double)total ? (int64_t)frame : total;
}

static int add_clip(struct build *b, const struct speech_span *spans, size_t n_spans,
                    int64_t from, int64_t to)
{
    int rc = 0;
    b->fresh = true;
    for (size_t i = 0; rc == 0 && i < n_spans; i++) {
        int64_t start = greatest(spans[i].start_frame, from);
        int64_t end = least(spans[i].end_frame, to);
        if (start < end)
            rc = add(b, start, end);
    }
    return rc;
}

int timeline_build(struct timeline *t, const struct speech_span *spans, size_t n_spans,
                   const struct whisper_clip *clips, size_t n_clips, int64_t total_frames,
                   int64_t join_frames, struct err *e)
{
    struct build b = {.t = t, .join = join_frames, .e = e};
    int rc = 0;
    int64_t done = 0;
    t->n_stretches = 0;
    t->length = 0;
    t->total_frames = total_frames;
    if (n_clips == 0)
        rc = add_clip(&b, spans, n_spans, 0, total_frames);
    for (size_t i = 0; rc == 0 && i < n_clips; i++) {
        int64_t from = greatest(done, frame_of(clips[i].start_seconds, total_frames));
        int64_t to = frame_of(clips[i].end_seconds, total_frames);
        rc = add_clip(&b, spans, n_spans, from, to);
        done = greatest(from, to);
    }
    finish_part(&b);
    return rc;
}

void timeline_release(struct timeline *t)
{
    if (!t)
        return;
    free(t->stretches);
    *t = (struct timeline){0};
}

/* ---- the way in both directions --------------------------------------------------- */

size_t timeline_stretch(const struct timeline *t, int64_t at)
{
    size_t low = 0, high = t->n_stretches;
    if (at >= t->length)
        return t->n_stretches;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (t->stretches[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int64_t timeline_recording(const struct timeline *t, int64_t at)
{
    size_t i = timeline_stretch(t, at);
    if (i == t->n_stretches)
        return t->total_frames;
    const struct stretch *s = &t->stretches[i];
    return s->start_frame + greatest(at - s->at, 0);
}

int64_t timeline_recording_end(const struct timeline *t, int64_t at)
{
    if (at <= 0)
        return 0;
    if (t->length == 0)
        return t->total_frames;
    return timeline_recording(t, least(at, t->length) - 1) + 1;
}

int64_t timeline_stream(const struct timeline *t, int64_t frame)
{
    size_t low = 0, high = t->n_stretches; /* the first that ends behind the frame */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->stretches[middle].end_frame > frame)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == t->n_stretches)
        return t->length;
    const struct stretch *s = &t->stretches[low];
    return s->at + greatest(frame - s->start_frame, 0);
}

int64_t timeline_to_break(const struct timeline *t, int64_t at)
{
    size_t i = timeline_stretch(t, at) + 1;
    while (i < t->n_stretches && !t->stretches[i].begins)
        i++;
    return (i < t->n_stretches ? t->stretches[i].at : t->length) - at;
}

size_t timeline_pieces(const struct timeline *t, int64_t at, int frames,
                       struct mel_piece *out, size_t max)
{
    size_t n = 0;
    int64_t end = least(at + frames, t->length);
    for (size_t i = timeline_stretch(t, at); at < end && n < max; i++) {
        const struct stretch *s = &t->stretches[i];
        int64_t first = s->start_frame + (at - s->at);
        int64_t count = least(s->end_frame - first, end - at);
        out[n++] = (struct mel_piece){first, (int)count};
        at += count;
    }
    return n;
}

/* ---- texts ------------------------------------------------------------------------ */

static int64_t end_at(const struct stretch *s)
{
    return s->at + (s->end_frame - s->start_frame);
}

void timeline_text(const struct timeline *t, int64_t start, int64_t end,
                   int64_t *start_frame, int64_t *end_frame)
{
    int64_t from = start, most = -1, best_from = start, best_to = end;
    size_t i = timeline_stretch(t, start);
    for (; i < t->n_stretches && from < end; i++) {
        const struct stretch *s = &t->stretches[i];
        const struct stretch *next = i + 1 < t->n_stretches ? s + 1 : NULL;
        bool last = !next || next->at >= end;
        if (!last && next->start_frame - s->end_frame <= TEXT_MAX_GAP)
            continue;
        int64_t to = least(end_at(s), end);
        if (to - from > most) {
            most = to - from;
            best_from = from;
            best_to = to;
        }
        from = to;
    }
    *start_frame = timeline_recording(t, best_from);
    *end_frame = timeline_recording_end(t, best_to);
}
