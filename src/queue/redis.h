/* The queue on Redis (or Valkey), which several machines share.
 *
 * Redis is a doorbell and a list of ids: the store stays the only truth. Whatever happens
 * to Redis, nothing is lost and nothing is done twice; while it is away, jobs are claimed
 * from the store itself, and when it is back, it is filled again from there. */
#ifndef QUEUE_REDIS_H
#define QUEUE_REDIS_H

#include "queue/queue.h"

struct redis_options {
    const char *url;     /* borrowed, as are the others */
    const char *ca_file; /* NULL: the system's */
    const char *name;    /* of the service: those who share a queue have the same */
};

/* The store is borrowed and must outlive the queue. A server that is not there is waited
 * for while the service works. ERR_INVALID for a URL that is none; ERR_DENIED,
 * ERR_UNSUPPORTED when the server lets nobody in or is too old: then waiting would not
 * help. */
int queue_redis_open(struct queue **out, struct store *s, const struct redis_options *o,
                     struct err *e);

#endif
