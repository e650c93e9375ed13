/* Where a Redis server is, and as whom to speak to it. */
#ifndef QUEUE_REDIS_ADDRESS_H
#define QUEUE_REDIS_ADDRESS_H

#include "base/err.h"

#include <stdbool.h>

struct redis_address {
    char *host; /* owned, as are the others; "[::1]"; NULL: a socket in the file system */
    char *path; /* of that socket; NULL: none */
    char *user, *password; /* NULL: none */
    char *ca_file;         /* of those who may vouch for the server; NULL: the system's */
    int port, database;
    bool tls;
};

/* "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]", the same with "rediss://" for TLS,
 * or "unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]". ERR_INVALID says what is wrong and
 * never holds the URL, in which there may be a password. */
int redis_address_parse(struct redis_address *out, const char *url, const char *ca_file,
                        struct err *e);
void redis_address_release(struct redis_address *a);

/* For people: "redis://host:6379/0", without user and password. Returns `out`. */
const char *redis_address_print(const struct redis_address *a, char *out, size_t size);

#endif
