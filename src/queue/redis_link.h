/* A connection to a Redis server: one command, one reply, each in its time.
 *
 * libcurl makes the connection (names, TLS, sockets in the file system), hiredis writes
 * and reads the protocol. A link that has failed once is out of step with its server and
 * does nothing more: close it. Not thread-safe. */
#ifndef QUEUE_REDIS_LINK_H
#define QUEUE_REDIS_LINK_H

#include "base/buf.h"
#include "base/err.h"
#include "queue/redis_address.h"

#include <hiredis/hiredis.h>
#include <stddef.h>
#include <stdint.h>

#define REDIS_CONNECT_MS   1000
#define REDIS_COMMAND_MS   2000
#define REDIS_OLDEST_MAJOR 5

struct redis_link;

/* The words of a command. Any bytes but NUL. */
struct redis_words {
    struct buf text; /* each with a NUL behind it */
    size_t count;
};
/* Forget what is there and begin with these words, separated by blanks. */
void redis_words_begin(struct redis_words *w, const char *words);
void redis_words_add(struct redis_words *w, const char *word);
void redis_words_number(struct redis_words *w, int64_t number);
void redis_words_release(struct redis_words *w);

/* Connected, let in, on its database. ERR_NETWORK, ERR_TIMEOUT: it is not there;
 * ERR_STATE: it is there, but not ready; ERR_DENIED: it does not let us in;
 * ERR_UNSUPPORTED: it is too old; ERR_INVALID: there is no such database. */
int redis_link_open(struct redis_link **out, const struct redis_address *a,
                    struct err *e);
void redis_link_close(struct redis_link *l);

/* Send a command and wait for its reply; *out (may be NULL) is freed with
 * freeReplyObject. An error that the server answers is one of ours: ERR_NOT_FOUND for an
 * unknown script, ERR_DENIED, else ERR_STATE; the link stays usable then. */
int redis_link_ask(struct redis_link *l, const struct redis_words *w, int64_t timeout_ms,
                   redisReply **out, struct err *e);

/* Send only: the reply is waited for with redis_link_hear. */
int redis_link_send(struct redis_link *l, const struct redis_words *w, int64_t timeout_ms,
                    struct err *e);
/* The next reply. ERR_TIMEOUT: none came; the link stays usable. ERR_CANCELLED: `wake_fd`
 * (-1: none) has become readable. */
int redis_link_hear(struct redis_link *l, int64_t timeout_ms, int wake_fd,
                    redisReply **out, struct err *e);

/* Whether a server that says this of itself ("redis_version:7.0.15") can be used.
 * ERR_UNSUPPORTED when it cannot. */
int redis_check_version(const char *info, struct err *e);

#endif
