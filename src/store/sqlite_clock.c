#include "store/sqlite_clock.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/settings.h"

#include <fcntl.h>
#include <unistd.h>

/* So much of the time that a machine ran may be missing from what is written down. */
#define SAVE_MS INT64_C(600000)

/* ---- times in the database --------------------------------------------------------- */

static void now_ms(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_int64(context, clock_now_ms());
}

/* The triggers that write the log take SQLite's time, which is that of the wall clock, so
 * that any program may change the database. What we change has ours. */
static int stamp_log(struct sqlite_conn *c, struct err *e)
{
    if (sqlite3_create_function(c->db, "agreed_ms", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS,
                                NULL, now_ms, NULL, NULL) != SQLITE_OK)
        return sqlite_conn_error(c, e);
    return sqlite_conn_script(
        c,
        "CREATE TEMP TRIGGER stamp_log AFTER INSERT ON main.job_events BEGIN"
        "  UPDATE job_events SET time_ms = agreed_ms() WHERE number = new.number;"
        "END;",
        e);
}

/* Those that lie ahead, such as the next try of a webhook, keep their distance as those
 * do that lie between the jump and now. What is older, and dates that people have set
 * (when a key ends), stay. */
static const struct {
    const char *table, *column;
} moves[] = {
    {"jobs", "created_ms"},           {"jobs", "started_ms"},
    {"jobs", "completed_ms"},         {"jobs", "run_after_ms"},
    {"job_docs", "created_ms"},       {"job_events", "time_ms"},
    {"job_sources", "next_ms"},       {"request_keys", "created_ms"},
    {"uploads", "created_ms"},        {"uploads", "expires_ms"},
    {"webhook_outbox", "created_ms"}, {"webhook_outbox", "last_ms"},
    {"webhook_outbox", "next_ms"},    {"sessions", "created_ms"},
    {"sessions", "expires_ms"},       {"workers", "started_ms"},
    {"workers", "beat_ms"},
};

/* Not among the statements that are kept prepared: it may never happen again. */
static int move(struct sqlite_conn *c, const struct trust_step *step, struct err *e)
{
    char sql[200];
    int status = 0;
    for (size_t i = 0; !status && i < ARRAY_LENGTH(moves); i++) {
        const char *column = moves[i].column;
        (void)snprintf(sql, sizeof sql, "UPDATE %s SET %s = %s + (%lld) WHERE %s >= %lld",
                       moves[i].table, column, column, (long long)step->by_ms, column,
                       (long long)step->since_ms);
        status = sqlite_conn_script(c, sql, e);
    }
    return status;
}

/* ---- what is believed ----------------------------------------------------------------
 */

static void read_boot(char out[TRUST_BOOT_SIZE])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, TRUST_BOOT_SIZE - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, " \n")] = '\0';
}

/* Call with the writer held. */
static int save(struct sqlite_store *s, const struct clock_trust *t, int64_t boot_ms,
                struct err *e)
{
    char text[TRUST_TEXT_SIZE];
    int n =
        sqlite_conn_run(&s->writer, e, "INSERT OR REPLACE INTO settings VALUES (?, ?)",
                        "tt", STORE_CLOCK, trust_write(t, boot_ms, text));
    if (n >= 0)
        s->trust_saved_ms = boot_ms;
    return n < 0 ? n : 0;
}

static void say(enum trust_news news, const struct clock_trust *t,
                const struct trust_step *step)
{
    char wall[CLOCK_ISO_SIZE], own[CLOCK_ISO_SIZE];
    (void)clock_iso(clock_wall_ms(), wall);
    (void)clock_iso(clock_boot_ms() + t->now_ahead_ms, own);
    if (news == TRUST_PARTED)
        log_warning(
            "this machine's clock has jumped by %+lld s, to %s: until it has stood "
            "for %lld minutes, times go on from %s, and nothing is deleted by the "
            "new one. Set the clock if it is wrong",
            (long long)(step->by_ms / 1000), wall, (long long)(TRUST_STAND_MS / 60000),
            own);
    else if (news == TRUST_STEP)
        log_warning(
            "this machine's clock has jumped by %+lld s, and is believed: it is %s",
            (long long)(step->by_ms / 1000), own);
    else if (news == TRUST_AGAIN)
        log_info("this machine's clock is as it was before it jumped: it is %s", own);
}

/* Call with the writer held. What cannot be written down now is not believed yet. */
static void look(struct sqlite_store *s)
{
    struct err e = {0};
    struct trust_step step = {0};
    struct clock_trust t = s->trust;
    int64_t boot_ms = clock_boot_ms();
    enum trust_news news = trust_look(&t, boot_ms, clock_wall_ms(), &step);
    bool due = news != TRUST_SAME || boot_ms - s->trust_saved_ms >= SAVE_MS;
    int status = due ? sqlite_conn_begin(&s->writer, &e) : 0;
    if (due && !status) {
        status = news == TRUST_STEP ? move(&s->writer, &step, &e) : 0;
        if (!status)
            status = save(s, &t, boot_ms, &e);
        status = sqlite_conn_end(&s->writer, status, &e);
    }
    if (status && news == TRUST_STEP)
        return;
    s->trust = t;
    clock_agree(t.now_ahead_ms, t.sure_ahead_ms);
    say(news, &t, &step);
}

void sqlite_clock_look(struct sqlite_store *s)
{
    if (s->lock_fd < 0)
        return;
    (void)sqlite_store_writer(s);
    look(s);
    sqlite_store_done(&s->writer);
}

int sqlite_clock_open(struct sqlite_store *s, struct err *e)
{
    char boot[TRUST_BOOT_SIZE];
    struct buf text;
    buf_init(&text, TRUST_TEXT_SIZE);
    int status = store_setting_get(&s->base, STORE_CLOCK, &text, e);
    if (status && status != ERR_NOT_FOUND)
        goto done;
    read_boot(boot);
    trust_begin(&s->trust, status ? NULL : buf_cstr(&text), boot, clock_boot_ms(),
                clock_wall_ms());
    clock_agree(s->trust.now_ahead_ms, s->trust.sure_ahead_ms);
    status = stamp_log(&s->writer, e);
    s->trust_saved_ms = -SAVE_MS;
    if (!status)
        sqlite_clock_look(s);
done:
    buf_release(&text);
    return status;
}

void sqlite_clock_close(struct sqlite_store *s)
{
    if (s->lock_fd < 0 || !s->writer.db || !*s->trust.boot || atomic_load(&s->damaged))
        return;
    (void)sqlite_store_writer(s);
    (void)save(s, &s->trust, clock_boot_ms(), NULL); /* what was saved before will do */
    sqlite_store_done(&s->writer);
}
