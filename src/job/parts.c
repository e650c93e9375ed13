#include "job/parts.h"

struct extent parts_all(const struct transcript *t)
{
    return (struct extent){t->n_segments, t->quality.n_notes, t->quality.n_votes};
}

bool parts_same(const struct extent *a, const struct extent *b)
{
    return a->segments == b->segments && a->notes == b->notes && a->votes == b->votes;
}

static bool write_between(const struct transcript *t, const struct extent *from,
                          const struct extent *to, bool figures, struct buf *out)
{
    struct transcript part = *t; /* borrows all that it points to */
    struct quality *q = &part.quality;
    part.segments = t->segments ? t->segments + from->segments : NULL;
    part.n_segments = to->segments - from->segments;
    q->notes = q->notes ? q->notes + from->notes : NULL;
    q->n_notes = to->notes - from->notes;
    q->votes = q->votes ? q->votes + from->votes : NULL;
    q->n_votes = to->votes - from->votes;
    q->known = figures && q->known;
    buf_reset(out);
    return format_write(FORMAT_JSON, &part, out) == 0;
}

static size_t halfway(size_t from, size_t to)
{
    return from + (to - from) / 2;
}

int parts_next(const struct transcript *t, struct extent *sent, bool figures,
               struct buf *out, struct err *e)
{
    struct extent to = parts_all(t);
    while (!write_between(t, sent, &to, figures, out)) {
        struct extent half = {halfway(sent->segments, to.segments),
                              halfway(sent->notes, to.notes),
                              halfway(sent->votes, to.votes)};
        if (parts_same(sent, &half))
            half.segments = to.segments; /* a segment and a note: one by one */
        if (parts_same(sent, &half) || parts_same(&half, &to))
            return err_set(e, ERR_TOO_LARGE, "a window's text is too large");
        to = half;
    }
    *sent = to;
    return 0;
}
