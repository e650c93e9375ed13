/* The scripts that change the queue on Redis, each one step as the server sees it. They
 * are files in lua/, which say what they take and return; the build embeds them. */
#ifndef QUEUE_REDIS_SCRIPTS_H
#define QUEUE_REDIS_SCRIPTS_H

#include "queue/redis_link.h"

struct redis_script {
    const char *name;
    const char *sha; /* of the text, as the server computes it */
    const char *text;
};

extern const struct redis_script redis_script_add, redis_script_allow, redis_script_claim,
    redis_script_drop, redis_script_keep, redis_script_whole;

/* Run a script on the names that begin with `prefix`. It is called by its hash, and sent
 * only where the server does not know it yet. */
int redis_script_run(struct redis_link *l, const struct redis_script *s,
                     const char *prefix, const struct redis_words *args,
                     int64_t timeout_ms, redisReply **out, struct err *e);

#endif
