/* The reference's way: hear 30 s, keep what is finished, and begin the next window where
 * that ended. */
#include "engine/longform.h"

#include "engine/segments.h"
#include "engine/timeline.h"

/* One window; *advance is at least 1. */
static int step(struct run *w, const struct window *window, int *advance, struct err *e)
{
    struct whisper_session *s = w->s;
    struct heard h;
    *advance = window->frames;
    if (!listen_take(w, window))
        return 0;
    int rc = run_settle_language(w, window, e);
    if (rc == 0)
        rc = run_listen(w, window, &h, e);
    if (rc < 0 || h.silent)
        return rc;
    size_t n = segments_split(h.tokens, h.count,
                              tokenizer_specials(s->tokenizer)->timestamp_begin,
                              window->frames, s->pieces, advance);
    return write_pieces(w, window, &h, s->pieces, n, e);
}

int sequential(struct run *w, int64_t at, struct err *e)
{
    while (at < w->t->length) {
        int64_t left = timeline_to_break(w->t, at);
        int advance = (int)left;
        int rc = run_check(w, e);
        if (rc == 0 && left >= WINDOW_MIN_FRAMES) {
            struct window window = {
                at, left < WHISPER_WINDOW_FRAMES ? (int)left : WHISPER_WINDOW_FRAMES};
            rc = step(w, &window, &advance, e);
        }
        if (rc < 0)
            return rc;
        at += advance;
        /* A rest too short for a window is done too. */
        left = timeline_to_break(w->t, at);
        if (left < WINDOW_MIN_FRAMES)
            at += left;
        if ((rc = run_checkpoint(w, at, e)) < 0)
            return rc;
    }
    return 0;
}
