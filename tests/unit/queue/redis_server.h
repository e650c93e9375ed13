/* A real Redis server for one test: in a folder of its own, on a socket in it. */
#ifndef REDIS_SERVER_H
#define REDIS_SERVER_H

#include "queue/redis_link.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
    char folder[PATH_MAX];
    char url[PATH_MAX + 32];
    pid_t pid; /* 0: it does not run */
};

/* Whether redis-server is installed; a test without it is skipped with a line. */
bool redis_server_present(void);
/* Start it, empty, and wait until it answers. `more` is a further option with its value,
 * or NULL. */
void redis_server_start(struct redis_server *s, const char *option, const char *value);
void redis_server_kill(struct redis_server *s);

/* Run a command, words separated by blanks; the caller frees the reply. Fails the test
 * when the server cannot be asked. */
redisReply *redis_server_ask(const struct redis_server *s, const char *words);
/* The same for a command whose reply is a number. */
long long redis_server_number(const struct redis_server *s, const char *words);
/* Names of all keys, separated by blanks, sorted; but for the marks of whose turn it
 * is and whose the queue is, which go by themselves. */
const char *redis_server_keys(const struct redis_server *s, char *out, size_t size);

#endif
