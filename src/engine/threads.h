/* One pool of threads per engine: spin a little, then sleep. */
#ifndef ENGINE_THREADS_H
#define ENGINE_THREADS_H

#include "base/err.h"

struct pool;

/* `threads` includes the caller; 0: threads_available(). */
int pool_new(struct pool **out, int threads, struct err *e);
void pool_free(struct pool *p);
int pool_size(const struct pool *p);

/* Call fn(arg, index, size) once on every thread, the caller's among them (index 0), and
 * return when all have finished. Not re-entrant; one caller at a time. */
typedef void (*pool_fn)(void *arg, int index, int size);
void pool_run(struct pool *p, pool_fn fn, void *arg);

/* Call fn(arg, task, thread) for every task 0 … count - 1, each once; a thread takes the
 * next when it is done with one. `thread` is its index in the pool, for its own scratch.
 */
typedef void (*pool_task_fn)(void *arg, int task, int thread);
void pool_each(struct pool *p, int count, pool_task_fn fn, void *arg);

/* Wait, inside fn, until all threads of the pool are here. */
void pool_barrier(struct pool *p);

/* Processors that this process may use: affinity mask and cgroup quota, at least 1. */
int threads_available(void);

#endif
