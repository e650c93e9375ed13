#include "store/pg_clock.h"

#include "base/clock.h"

#define NS_PER_MS INT64_C(1000000)
/* Clocks that are kept right differ by less, and an answer may take as long to come. */
#define SAME_MS 2000

void pg_clock_note(struct pg_store *s, int64_t server_ms)
{
    atomic_store(&s->server_ahead_ms, server_ms - clock_monotonic_ns() / NS_PER_MS);
}

int pg_clock_look(struct pg_store *s, struct pg_conn *c, struct err *e)
{
    PGresult *r;
    int status = pg_ask(
        c, &r, e, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", "");
    if (!status)
        pg_clock_note(s, pg_int(r, 0, 0));
    PQclear(r);
    return status;
}

int64_t pg_clock_of(struct pg_store *s, int64_t wall_ms)
{
    int64_t ahead_ms = atomic_load(&s->server_ahead_ms);
    if (!ahead_ms)
        return wall_ms; /* never asked */
    int64_t wrong_ms = ahead_ms + clock_monotonic_ns() / NS_PER_MS - clock_wall_ms();
    return wrong_ms > -SAME_MS && wrong_ms < SAME_MS ? wall_ms : wall_ms + wrong_ms;
}
