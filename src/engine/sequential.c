/* The reference's way: hear 30 s, keep what is finished, and begin the next window where
 * that ended. */
#include "engine/longform.h"

/* One window; *advance is at least 1. */
static int step(struct run *w, const struct window *window, int *advance, struct err *e)
{
    struct account a;
    int rc = hear_window(w, window, true, &a, e);
    if (rc == 0)
        rc = write_account(w, &a, e);
    *advance = a.advance;
    account_release(&a);
    return rc;
}

struct window sequential_window(const struct run *w, int64_t at)
{
    int64_t left = timeline_to_break(w->t, at), most = longform_window_frames(w);
    return (struct window){at, (int)(left < most ? left : most)};
}

int sequential_hear(struct run *w, int64_t at, struct err *e)
{
    while (at < w->t->length) {
        const struct window window = sequential_window(w, at);
        int advance = window.frames;
        int rc = longform_check(w, e);
        if (rc == 0 && window.frames >= WINDOW_MIN_FRAMES)
            rc = step(w, &window, &advance, e);
        if (rc < 0)
            return rc;
        at += advance;
        /* A rest too short for a window is done too. */
        int64_t left = timeline_to_break(w->t, at);
        if (left < WINDOW_MIN_FRAMES)
            at += left;
        if ((rc = longform_checkpoint(w, at, e)) < 0)
            return rc;
    }
    return 0;
}
