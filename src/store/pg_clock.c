#include "store/pg_clock.h"

#include "base/clock.h"
#include "base/log.h"

/* Clocks that are kept right differ by less, and an answer may take as long to come. */
#define SAME_MS 5000

static void compare(struct pg_store *s, int64_t ahead_ms)
{
    int64_t wrong_ms = clock_wall_ms() - clock_boot_ms() - ahead_ms;
    int64_t more_ms = wrong_ms - atomic_exchange(&s->wrong_ms, wrong_ms);
    if (more_ms > -SAME_MS && more_ms < SAME_MS)
        return;
    if (wrong_ms > -SAME_MS && wrong_ms < SAME_MS)
        log_info("this machine's clock agrees with that of the database server again");
    else
        log_warning("this machine's clock is %lld s %s that of the database server, by "
                    "which everything goes: set it",
                    (long long)(wrong_ms < 0 ? -wrong_ms : wrong_ms) / 1000,
                    wrong_ms < 0 ? "behind" : "ahead of");
}

void pg_clock_note(struct pg_store *s, int64_t asked_ms, int64_t server_ms)
{
    /* Somewhere between question and answer. */
    int64_t ahead_ms = server_ms - (asked_ms + clock_boot_ms()) / 2;
    clock_agree_server(ahead_ms);
    compare(s, ahead_ms);
}

int pg_clock_look(struct pg_store *s, struct pg_conn *c, struct err *e)
{
    PGresult *r;
    int64_t asked_ms = clock_boot_ms();
    int status = pg_ask(
        c, &r, e, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", "");
    if (!status)
        pg_clock_note(s, asked_ms, pg_int(r, 0, 0));
    PQclear(r);
    return status;
}
