/* Windows cut at pauses, several of them listened to at once.
 *
 * The decoder reads its weights once for all of them (batcher.h). No window waits for
 * what is kept of another, and none is begun twice: what stands behind the last pair of
 * timestamps is text too, for the window ends where nobody speaks. Whoever has done with
 * a window takes the next one; what was heard is written in the order of the recording.
 */
#include "engine/longform.h"

#include "base/log.h"
#include "base/mem.h"
#include "engine/ahead.h"
#include "engine/pack.h"

#include <pthread.h>

/* A window and what is known of it. */
struct post {
    struct window window;
    struct said said; /* as it was heard for itself */
    bool is_said, is_done;
    struct account account;
};

struct crew {
    struct run *main;     /* borrowed: who writes */
    struct post *posts;   /* owned [n] */
    size_t n;             /* windows */
    size_t next;          /* the first that nobody has taken */
    size_t written;       /* before this, all is in the result */
    struct said recalled; /* before the first window */
    int rc;               /* of the first that failed */
    struct err why;
};

static void fail(struct crew *c, int rc, const struct err *why)
{
    if (c->rc == 0) {
        c->rc = rc;
        c->why = *why;
    }
    batcher_stop(c->main->batcher, c->main->member);
}

int batched_exchange(struct run *w, const struct heard *h, const struct said **before,
                     struct err *e)
{
    struct crew *c = w->crew;
    struct post *mine = &c->posts[w->turn];
    if (!w->p->context_pass)
        return 0;
    int rc = context_said(w, h, &mine->said, e);
    if (rc < 0)
        return rc;
    mine->is_said = true;
    batcher_tell(w->batcher);
    if (w->turn == 0) {
        *before = &c->recalled;
        return 0;
    }
    /* Windows are taken in order: somebody is at it, or was. */
    const struct post *other = &c->posts[w->turn - 1];
    while (!other->is_said && !batcher_stopped(w->batcher, w->member))
        batcher_wait(w->batcher);
    if (!other->is_said)
        return err_set(e, ERR_CANCELLED, "the transcription was cancelled");
    *before = &other->said;
    return 0;
}

/* It cannot be written yet: whoever is to go on after a break should know of it. */
static int tell_ahead(const struct run *w, const struct post *p, struct err *e)
{
    struct buf b;
    if (!w->c || !w->c->ahead)
        return 0;
    buf_init(&b, AHEAD_MAX_BYTES);
    int rc =
        ahead_write(&p->account, p->is_said ? &p->said : NULL, w->r->multilingual, &b, e);
    if (rc == 0)
        w->c->ahead(w->c->arg, timeline_recording(w->t, p->window.at + p->window.frames),
                    b.data, b.length);
    buf_release(&b);
    return rc;
}

/* All that is done up to the first window that is not. */
static int write_done(struct crew *c, struct err *e)
{
    int rc = 0;
    while (rc == 0 && c->written < c->n && c->posts[c->written].is_done) {
        struct post *p = &c->posts[c->written++];
        rc = write_account(c->main, &p->account, e);
        if (rc == 0)
            rc = longform_checkpoint(c->main, p->window.at + p->window.frames, e);
        account_release(&p->account);
    }
    return rc;
}

static void listen_to(struct crew *c, size_t turn)
{
    struct run mine = *c->main;
    struct post *p = &c->posts[turn];
    struct err e = {0};
    mine.turn = turn;
    mine.n_seats = 1;
    mine.seats[0] = batcher_take_seat(mine.batcher, mine.member, &p->window);
    int rc = longform_check(&mine, &e);
    if (rc == 0)
        rc = hear_window(&mine, &p->window, false, &p->account, &e);
    batcher_free_seat(mine.batcher, mine.member, mine.seats[0]);
    p->is_done = rc == 0;
    if (rc == 0)
        log_debug("the window at frame %lld is done", (long long)p->window.at);
    if (rc == 0)
        rc = write_done(c, &e);
    if (rc == 0 && turn >= c->written)
        rc = tell_ahead(&mine, p, &e);
    if (rc < 0)
        fail(c, rc, &e);
}

/* The next window that somebody has to hear; false when there is none. */
static bool find_next(struct crew *c)
{
    while (c->next < c->n && c->posts[c->next].is_done)
        c->next++;
    return c->next < c->n;
}

/* With the baton. */
static void work(struct crew *c)
{
    struct batcher *b = c->main->batcher;
    while (find_next(c) && batcher_wait_seat(b, c->main->member)) {
        if (find_next(c)) /* while it waited, others may have taken the last */
            listen_to(c, c->next++);
        batcher_tell(b);
    }
}

static void *listener_main(void *arg)
{
    struct crew *c = arg;
    batcher_enter(c->main->batcher);
    work(c);
    batcher_leave(c->main->batcher);
    return NULL;
}

/* As many as are useful, the caller among them. Threads that cannot be had are not
 * missed: fewer do the same. */
static void work_together(struct crew *c, int listeners)
{
    pthread_t threads[WHISPER_MAX_BATCH];
    int started = 0;
    while (started < listeners - 1 &&
           pthread_create(&threads[started], NULL, listener_main, c) == 0)
        started++;
    work(c);
    batcher_leave(c->main->batcher);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    batcher_enter(c->main->batcher);
}

static int count_listeners(const struct run *w, size_t windows)
{
    int wanted = w->p->batch_size > 0 ? w->p->batch_size : WHISPER_DEFAULT_BATCH;
    wanted = wanted < w->s->max_windows ? wanted : w->s->max_windows;
    /* The first that hears a language decides which it is: that has to be the first. */
    if (w->r->language < 0 && w->s->model->config.multilingual)
        wanted = 1;
    return windows < (size_t)wanted ? (int)windows : wanted;
}

static int open_crew(struct crew *c, struct run *w, int64_t at, struct err *e)
{
    struct window *windows = NULL;
    size_t n = 0, capacity = 0, first = 0;
    *c = (struct crew){.main = w};
    int rc = pack_windows(w->t, &w->s->speech, longform_packed_frames(w),
                          !w->r->multilingual, &windows, &n, &capacity, e);
    while (first < n && windows[first].at < at)
        first++;
    if (rc == 0 && first > 0 && first < n && w->p->context_pass)
        rc = context_recall(w, &windows[first - 1], &c->recalled, e);
    if (rc == 0 && first < n) {
        c->posts = mem_array(n - first, sizeof(*c->posts));
        rc = c->posts ? 0 : err_set(e, ERR_NOMEM, "no memory is left for the windows");
    }
    for (size_t i = first; rc == 0 && i < n; i++)
        c->posts[c->n++].window = windows[i];
    free(windows);
    return rc;
}

/* What an earlier attempt has told of a window, if it is this one. */
static void recall_ahead(struct crew *c, const struct whisper_ahead *ahead)
{
    const struct run *w = c->main;
    bool multilingual;
    struct window window;
    struct err e;
    if (!ahead_window(ahead->bytes, ahead->length, &window, &multilingual) ||
        multilingual != w->r->multilingual)
        return;
    for (size_t i = 0; i < c->n; i++) {
        struct post *p = &c->posts[i];
        if (p->is_done || p->window.at != window.at || p->window.frames != window.frames)
            continue;
        p->is_done = ahead_read(ahead->bytes, ahead->length, w->s->model->config.n_vocab,
                                w->p->context_pass, &p->account, &p->said, &e) == 0;
        p->is_said = p->is_done && w->p->context_pass;
        log_debug("the window at frame %lld %s", (long long)window.at,
                  p->is_done ? "is known" : e.message);
    }
}

static void close_crew(struct crew *c)
{
    for (size_t i = 0; i < c->n; i++) {
        account_release(&c->posts[i].account);
        free(c->posts[i].said.tokens);
    }
    free(c->posts);
    free(c->recalled.tokens);
}

int batched_hear(struct run *w, int64_t at, struct err *e)
{
    struct crew c;
    int rc = open_crew(&c, w, at, e);
    if (rc == 0 && c.n > 0) {
        w->crew = &c;
        for (size_t i = 0; i < w->p->n_ahead; i++)
            recall_ahead(&c, &w->p->ahead[i]);
        rc = write_done(&c, e);
        longform_free_seats(w, 0); /* listeners take them one by one */
        if (rc == 0)
            work_together(&c, count_listeners(w, c.n));
        w->crew = NULL;
        if (rc == 0)
            rc = c.rc < 0 ? err_set(e, c.rc, "%s", c.why.message) : longform_check(w, e);
    }
    close_crew(&c);
    return rc;
}
