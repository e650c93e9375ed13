/* Threads for work that may block: the disk, the database.
 *
 * They are made as they are needed, up to a number, and then kept. What is asked for is
 * always done, in the order it came; whoever begins something new asks http_pool_full
 * first, and turns it away while too much is waiting. */
#ifndef HTTP_POOL_H
#define HTTP_POOL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of something larger, which `run` finds again; it may free it. */
struct http_task {
    struct http_task *next;
    void (*run)(struct http_task *task);
};

struct http_pool;

/* At most `threads` at once; http_pool_full from `line` waiting tasks on. */
int http_pool_new(struct http_pool **out, size_t threads, size_t line, struct err *e);
/* Do all that still waits, end the threads. No task may be added any more. */
void http_pool_free(struct http_pool *p);

/* From any thread. A task that is waiting or running must not be added again before its
 * `run` was called. */
void http_pool_add(struct http_pool *p, struct http_task *task);
bool http_pool_full(struct http_pool *p);
/* Threads that are at work, and tasks that wait for one. */
void http_pool_figures(struct http_pool *p, int64_t *busy, int64_t *waiting);

#endif
