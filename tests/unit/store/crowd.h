/* A database of a test's own on PostgreSQL, and many threads that use it at once. */
#ifndef STORE_CROWD_H
#define STORE_CROWD_H

#include "store_test.h"

#include <pthread.h>
#include <stdatomic.h>

struct fixture {
    char folder[PATH_MAX], url[PATH_MAX + 32];
    const char *database; /* borrowed */
};
int crowd_set_up(void **state);
int crowd_tear_down(void **state);

struct store *crowd_open(const char *url, int connections);
/* A new job; its texts are static, or `name`. */
struct job crowd_job(char name[64], int64_t created_ms);

/* Threads that call `fn`, each with a number of its own. */
struct crowd {
    struct fixture *f;
    struct store *store;
    void (*fn)(struct crowd *c, int i);
    atomic_int next, done, failed, odd;
    atomic_bool over;
    void *arg;
};
void crowd_run(struct crowd *c, int count, void (*fn)(struct crowd *c, int i));

#endif
