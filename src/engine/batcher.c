#include "engine/batcher.h"

#include "base/mem.h"

#include <pthread.h>
#include <time.h>

/* Nobody tells a waiter that his caller wants no more: he asks, so often. */
#define ASK_NS 100000000

struct seat {
    bool taken;
    bool encoded;
    uint64_t serial; /* whose window it is */
    struct window window;
    pthread_cond_t turn; /* its listener may look again */
};

/* Of a recording that waits for a seat. */
struct applicant {
    const struct member *member;
    uint64_t number; /* who came first */
    struct applicant *next;
};

struct batcher {
    pthread_mutex_t baton;
    pthread_cond_t net_free; /* for those who compute anything but a step */
    pthread_cond_t changed;  /* batcher_tell, and seats */
    pthread_cond_t step_ended;
    int watching;  /* at step_ended */
    bool busy;     /* somebody computes */
    int waiting;   /* at net_free */
    int successor; /* a seat whose listener is to go on with the steps, or -1 */
    uint64_t serial, number;
    struct applicant *applicants;
    int n_seats, n_free;
    struct seat *seats; /* owned [n_seats] */
};

int batcher_open(struct batcher **out, int seats, struct err *e)
{
    struct batcher *b = mem_array(1, sizeof *b);
    *out = b;
    if (b)
        b->seats = mem_array((size_t)seats, sizeof *b->seats);
    if (!b || !b->seats) {
        free(b);
        *out = NULL;
        return err_set(e, ERR_NOMEM, "no memory is left for the decoder's scratch");
    }
    b->n_seats = b->n_free = seats;
    b->successor = -1;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&b->baton, NULL);
    pthread_cond_init(&b->net_free, &monotonic);
    pthread_cond_init(&b->changed, &monotonic);
    pthread_cond_init(&b->step_ended, NULL);
    for (int i = 0; i < seats; i++)
        pthread_cond_init(&b->seats[i].turn, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return 0;
}

void batcher_close(struct batcher *b)
{
    if (!b)
        return;
    for (int i = 0; i < b->n_seats; i++)
        pthread_cond_destroy(&b->seats[i].turn);
    pthread_cond_destroy(&b->step_ended);
    pthread_cond_destroy(&b->changed);
    pthread_cond_destroy(&b->net_free);
    pthread_mutex_destroy(&b->baton);
    free(b->seats);
    free(b);
}

void batcher_enter(struct batcher *b)
{
    pthread_mutex_lock(&b->baton);
}

void batcher_leave(struct batcher *b)
{
    pthread_mutex_unlock(&b->baton);
}

/* Wait to be woken, or until it is time to ask again. */
static void doze(struct batcher *b, pthread_cond_t *what)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ASK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(what, &b->baton, &until);
}

void batcher_join(struct batcher *b, struct member *m)
{
    m->serial = ++b->serial;
}

void batcher_stop(struct batcher *b, struct member *m)
{
    m->stopped = true;
    pthread_cond_broadcast(&b->changed);
    for (int i = 0; i < b->n_seats; i++)
        pthread_cond_signal(&b->seats[i].turn);
}

bool batcher_stopped(struct batcher *b, struct member *m)
{
    const struct whisper_callbacks *c = m ? m->callbacks : NULL;
    if (c && !m->stopped && c->cancelled && c->cancelled(c->arg))
        batcher_stop(b, m);
    return m && m->stopped;
}

/* ---- seats ------------------------------------------------------------------------- */

static bool is_next(const struct batcher *b, const struct applicant *mine)
{
    for (const struct applicant *a = b->applicants; a; a = a->next)
        if (a->member->held < mine->member->held ||
            (a->member->held == mine->member->held && a->number < mine->number))
            return false;
    return b->n_free > 0;
}

bool batcher_wait_seat(struct batcher *b, struct member *m)
{
    struct applicant mine = {m, b->number++, b->applicants};
    b->applicants = &mine;
    while (!batcher_stopped(b, m) && !is_next(b, &mine))
        doze(b, &b->changed);
    struct applicant **at = &b->applicants;
    while (*at != &mine)
        at = &(*at)->next;
    *at = mine.next;
    pthread_cond_broadcast(&b->changed); /* another may be next now */
    return !m->stopped;
}

bool batcher_spare_seat(const struct batcher *b)
{
    return b->n_free > 0 && !b->applicants;
}

bool batcher_holds(const struct batcher *b, const struct member *m, int seat,
                   const struct window *w)
{
    const struct seat *s = &b->seats[seat];
    return s->encoded && s->serial == m->serial && s->window.at == w->at &&
           s->window.frames == w->frames;
}

void batcher_encoded(struct batcher *b, const struct member *m, int seat,
                     const struct window *w)
{
    struct seat *s = &b->seats[seat];
    s->encoded = w != NULL;
    s->serial = m->serial;
    if (w)
        s->window = *w;
}

int batcher_take_seat(struct batcher *b, struct member *m, const struct window *w)
{
    int best = -1;
    for (int i = 0; i < b->n_seats; i++) {
        if (b->seats[i].taken)
            continue;
        if (w && batcher_holds(b, m, i, w)) {
            best = i;
            break;
        }
        /* Rather one in which nothing of this recording is waiting to be heard. */
        if (best < 0 || (b->seats[best].serial == m->serial && b->seats[best].encoded &&
                         b->seats[i].serial != m->serial))
            best = i;
    }
    b->seats[best].taken = true;
    b->n_free--;
    m->held++;
    return best;
}

void batcher_free_seat(struct batcher *b, struct member *m, int seat)
{
    b->seats[seat].taken = false;
    b->n_free++;
    m->held--;
    pthread_cond_broadcast(&b->changed);
}

/* ---- the net ----------------------------------------------------------------------- */

/* The net is free: the next who wants it has to hear of it, and only he. */
static void hand_on(struct batcher *b)
{
    if (b->waiting > 0)
        pthread_cond_signal(&b->net_free);
    else if (b->successor >= 0)
        pthread_cond_signal(&b->seats[b->successor].turn);
}

bool batcher_begin(struct batcher *b, struct member *m)
{
    b->waiting++;
    while (b->busy && !batcher_stopped(b, m))
        doze(b, &b->net_free);
    b->waiting--;
    if (b->busy) /* whoever has it will hand it on, to others */
        return false;
    b->busy = true;
    pthread_mutex_unlock(&b->baton);
    return true;
}

void batcher_end(struct batcher *b)
{
    pthread_mutex_lock(&b->baton);
    b->busy = false;
    hand_on(b);
}

bool batcher_begin_step(struct batcher *b, int seat)
{
    if (b->busy || b->waiting > 0) {
        b->successor = seat;
        doze(b, &b->seats[seat].turn);
        return false;
    }
    b->successor = -1;
    b->busy = true;
    return true;
}

void batcher_compute(struct batcher *b)
{
    pthread_mutex_unlock(&b->baton);
}

void batcher_end_step(struct batcher *b)
{
    pthread_mutex_lock(&b->baton);
    b->busy = false;
    if (b->waiting > 0)
        pthread_cond_signal(&b->net_free);
    if (b->watching > 0)
        pthread_cond_broadcast(&b->step_ended);
}

void batcher_wait_step(struct batcher *b)
{
    b->watching++;
    pthread_cond_wait(&b->step_ended, &b->baton);
    b->watching--;
}

void batcher_wake(struct batcher *b, int seat)
{
    pthread_cond_signal(&b->seats[seat].turn);
}

void batcher_succeed(struct batcher *b, int seat)
{
    b->successor = seat;
    if (!b->busy)
        hand_on(b);
}

void batcher_wait(struct batcher *b)
{
    doze(b, &b->changed);
}

void batcher_tell(struct batcher *b)
{
    pthread_cond_broadcast(&b->changed);
}
