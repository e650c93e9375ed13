/* Windows cut at pauses, several of them side by side.
 *
 * The decoder reads its weights once for all of them. No window waits for what is kept of
 * another, and none is begun twice: what stands behind the last pair of timestamps is
 * text too, for the window ends where nobody speaks. */
#include "engine/longform.h"

#include "base/mem.h"
#include "engine/pack.h"

/* Windows that are heard together. */
static int together(struct run *w, const struct window *windows, int n, struct err *e)
{
    struct account accounts[WHISPER_MAX_BATCH];
    int rc = hear_windows(w, windows, n, false, accounts, e);
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = write_account(w, &accounts[i], e);
        if (rc == 0)
            rc = longform_checkpoint(w, windows[i].at + windows[i].frames, e);
        account_release(&accounts[i]);
    }
    return rc;
}

static int batch_size(const struct run *w)
{
    int wanted = w->p->batch_size > 0 ? w->p->batch_size : WHISPER_DEFAULT_BATCH;
    return wanted < w->s->max_windows ? wanted : w->s->max_windows;
}

int batched_hear(struct run *w, int64_t at, struct err *e)
{
    struct window *windows = NULL;
    size_t n = 0, capacity = 0, i = 0;
    int rc = pack_windows(w->t, &w->s->speech, longform_packed_frames(w),
                          !w->r->multilingual, &windows, &n, &capacity, e);
    while (i < n && windows[i].at < at)
        i++;
    if (rc == 0 && i > 0 && i < n && w->p->context_pass)
        rc = context_recall(w, &windows[i - 1], e);
    while (rc == 0 && i < n) {
        size_t left = n - i, most = (size_t)batch_size(w);
        int count = (int)(left < most ? left : most);
        rc = longform_check(w, e);
        if (rc == 0)
            rc = together(w, windows + i, count, e);
        i += (size_t)count;
    }
    free(windows);
    return rc;
}
