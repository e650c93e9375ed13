/* Continuous batching: whoever listens to a window does so in a thread of his own, and
 * all share the steps of one decoder (Yu and others, "Orca", 2022). A sequence enters
 * when its window is encoded and leaves when it has ended; none waits for another.
 *
 * Two things are owned by one thread at a time. The baton is held by whoever runs, but
 * while he computes or waits: so nothing that the listeners share needs a lock of its
 * own. The net, with the pool's threads and all scratch, is held by whoever computes.
 * What is computed for a window is the same whatever else is computed beside it
 * (kernels.h), so texts do not depend on who comes first. */
#ifndef ENGINE_BATCHER_H
#define ENGINE_BATCHER_H

#include "engine/timeline.h"
#include "engine/whisper.h"

struct batcher;

/* One recording. Zeroed at first but for the callbacks. */
struct member {
    const struct whisper_callbacks *callbacks; /* borrowed or NULL */
    bool stopped;                              /* its listeners end as soon as they can */
    int held;                                  /* seats */
    uint64_t serial;                           /* set by batcher_join */
    struct whisper_times times;                /* with the baton, as is the rest */
};

/* A seat is a window of the net and what the search keeps of it. */
int batcher_open(struct batcher **out, int seats, struct err *e);
void batcher_close(struct batcher *b);

/* Take the baton, and give it away. Everything below is called with it. */
void batcher_enter(struct batcher *b);
void batcher_leave(struct batcher *b);

void batcher_join(struct batcher *b, struct member *m);
/* No more of this recording: wake all of its listeners. */
void batcher_stop(struct batcher *b, struct member *m);
/* Was it stopped, or does its caller want no more? Of nobody (NULL): no. */
bool batcher_stopped(struct batcher *b, struct member *m);

/* ---- seats ---- */

/* Wait until a seat is free and it is this recording's turn: those who hold fewest come
 * first. False when it was stopped. The seat is not taken yet. */
bool batcher_wait_seat(struct batcher *b, struct member *m);
/* Is there one for a recording that would rather wait than take the last? */
bool batcher_spare_seat(const struct batcher *b);
/* Take a free seat: the one in which that window of the recording is encoded, if it still
 * is. */
int batcher_take_seat(struct batcher *b, struct member *m, const struct window *w);
void batcher_free_seat(struct batcher *b, struct member *m, int seat);

/* What is encoded in a seat, and to say so. */
bool batcher_holds(const struct batcher *b, const struct member *m, int seat,
                   const struct window *w);
void batcher_encoded(struct batcher *b, const struct member *m, int seat,
                     const struct window *w);

/* ---- the net ---- */

/* Wait for the net and take it, giving the baton away; and back. False, with the baton,
 * when the recording was stopped meanwhile (NULL: it never is): it has not got the net.
 */
bool batcher_begin(struct batcher *b, struct member *m);
void batcher_end(struct batcher *b);

/* Take the net for a step of the decoder if nobody has it or wants it for something else,
 * which goes first: what is encoded sooner is decoded with more beside it. The baton is
 * kept until batcher_compute. False: it waited a while for `seat`, look again. */
bool batcher_begin_step(struct batcher *b, int seat);
void batcher_compute(struct batcher *b);
/* Back from a step, with the baton. */
void batcher_end_step(struct batcher *b);
/* Wait for the end of a step that somebody is at. */
void batcher_wait_step(struct batcher *b);
/* Who waits with batcher_begin_step for that seat has to look again. */
void batcher_wake(struct batcher *b, int seat);

/* Who is there to go on with the steps when whoever did them is done: a seat, or -1. */
void batcher_succeed(struct batcher *b, int seat);

/* Wait until something has changed that was told by batcher_tell, or for a while. */
void batcher_wait(struct batcher *b);
void batcher_tell(struct batcher *b);

#endif
