/* Work that another thread does beside one's own.
 *
 * To hash a piece of a recording takes longer than to hand it to the disk's cache; the
 * two go on at once. A few threads take such work when they are free. What none of them
 * has begun with when it is needed, its owner does, so nothing ever waits in a line. */
#ifndef STORE_BESIDE_H
#define STORE_BESIDE_H

#include <pthread.h>
#include <stddef.h>

struct beside;

/* Private to beside.c; on its owner's stack. */
struct beside_work {
    void (*run)(void *arg);
    void *arg;
    struct beside_work *next; /* under lock, as is what follows */
    enum { BESIDE_OURS, BESIDE_WAITS, BESIDE_TAKEN, BESIDE_DONE } state;
    pthread_cond_t done;
};

/* At most so many threads, which begin when they are needed; none is fine. NULL: out of
 * memory. */
struct beside *beside_new(size_t threads);
/* As many as this machine's processors are good for. */
size_t beside_threads(void);
/* When no work is under way; NULL is fine. */
void beside_free(struct beside *b);

/* Let `run` be done by a thread that is free, now or at beside_end, which is to be called
 * once and returns when it is done. */
void beside_begin(struct beside *b, struct beside_work *w, void (*run)(void *arg),
                  void *arg);
void beside_end(struct beside *b, struct beside_work *w);

#endif
