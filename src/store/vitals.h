/* How the database is, for a monitor, and what else waits in it beside jobs. */
#ifndef STORE_VITALS_H
#define STORE_VITALS_H

#include "store/store.h"

struct store_vitals {
    const char *kind;      /* static: "sqlite", "postgresql" */
    double answer_seconds; /* that the smallest question took */
    int64_t size_bytes;
    int64_t journal_bytes;                 /* -1: it is the server's own affair */
    int64_t connections, connections_most; /* of this process: in use, and at most */
    int64_t leases, leases_lapsed;         /* of jobs that somebody is at */
    int64_t oldest_ms;               /* when the first of these was begun; 0: none */
    int64_t notices, notices_failed; /* of webhooks: to be sent, given up */
    int64_t oldest_notice_ms;        /* 0: none is waiting */
    int64_t uploads, uploads_bytes;  /* in several requests, that are not whole */
};

struct store_vitals_ops {
    int (*look)(struct store *s, int64_t lease_now_ms, struct store_vitals *out,
                struct err *e);
};
extern const struct store_vitals_ops sqlite_vitals_ops; /* sqlite_vitals.c */
extern const struct store_vitals_ops pg_vitals_ops;     /* pg_vitals.c */

/* `lease_now_ms`: see clock_lease_ms. On error the database is not well, and `out` says
 * no more than its kind. */
static inline int store_vitals(struct store *s, int64_t lease_now_ms,
                               struct store_vitals *out, struct err *e)
{
    return s->ops->vitals->look(s, lease_now_ms, out, e);
}

/* What both back ends ask, in this order: leases, lapsed ones (before $1), the first
 * beginning; notices, those given up, the oldest; uploads, their bytes. */
#define STORE_VITALS_SQL(OPEN)                                                           \
    "SELECT "                                                                            \
    "(SELECT COUNT(*) FROM jobs WHERE status = 'processing'), "                          \
    "(SELECT COUNT(*) FROM jobs WHERE status = 'processing' AND lease_until_ms < $1), "  \
    "(SELECT COALESCE(MIN(started_ms), 0) FROM jobs WHERE status = 'processing'), "      \
    "(SELECT COUNT(*) FROM webhook_outbox WHERE state = 'waiting'), "                    \
    "(SELECT COUNT(*) FROM webhook_outbox WHERE state = 'failed'), "                     \
    "(SELECT COALESCE(MIN(created_ms), 0) FROM webhook_outbox WHERE state = "            \
    "'waiting'), "                                                                       \
    "(SELECT COUNT(*) FROM uploads WHERE " OPEN "), "                                    \
    "(SELECT COALESCE(SUM(received), 0) FROM uploads WHERE " OPEN ")"

#endif
