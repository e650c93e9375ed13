/* A queue on a real Redis server, with a store, for one test. */
#ifndef REDIS_FIXTURE_H
#define REDIS_FIXTURE_H

#include "../store/store_test.h"
#include "redis_server.h"

#include "base/clock.h"
#include "queue/redis.h"

#include <unistd.h>

#define PREFIX "wt:{test}:"

struct fixture {
    char folder[PATH_MAX];
    struct redis_server server;
    struct store *store; /* NULL: there is no server here */
    struct queue *queue;
};

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#define NEEDS_SERVER(f)                                                                  \
    do {                                                                                 \
        if (!(f)->store)                                                                 \
            skip();                                                                      \
    } while (0)

/* Ten seconds are more than anything here takes. */
#define UNTIL(condition)                                                                 \
    do {                                                                                 \
        int64_t until_ms = clock_wall_ms() + 10000;                                      \
        bool came = false;                                                               \
        while (!(came = (condition)) && clock_wall_ms() < until_ms)                      \
            usleep(2000);                                                                \
        if (!came)                                                                       \
            fail_msg("does not come about: %s", #condition);                             \
    } while (0)

int set_up(void **state);
int tear_down(void **state);
/* Again, after it was closed. */
void open_queue(struct fixture *f);

struct sort {
    const char *caller, *model;
    int priority;
    int64_t bytes, created_ms;
};

/* Insert and push a job; returns `id`. */
const char *add_job(struct fixture *f, struct sort sort, char id[ID_SIZE]);

/* How many jobs Redis knows, and how many of them are held. */
long long on_redis(const struct fixture *f);
long long leased(const struct fixture *f);
bool rings(const struct fixture *f);
/* Whether Redis chooses, as opposed to the store. */
bool is_up(const struct fixture *f);

/* Both steps of a claim. */
int claim(struct fixture *f, const struct store_wish *wish, struct job *out);
/* The id of the next job, which is claimed; one that cannot be had is passed over. */
void claim_id(struct fixture *f, char id[ID_SIZE]);
/* How many were claimed: 0 or 1. */
int claim_any(struct fixture *f);

void over(struct fixture *f, const char *id, double seconds, bool dead);
/* Complete it. */
void finish(struct fixture *f, const char *id, int attempt);

#endif
