#include "store/pg_pool.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <sodium.h>
#include <time.h>

#define CONNECT_NS     INT64_C(5000000000)
#define FIRST_PAUSE_NS INT64_C(50000000)
#define MOST_PAUSE_NS  INT64_C(1000000000)
/* How long an outcome is asked for that was not heard, at least. */
#define OUTCOME_NS INT64_C(3000000000)
/* Whoever has waited for long still gets to try. */
#define LEAST_CONNECT_NS INT64_C(1000000000)
#define MOST_ROUNDS      20

static int64_t draw(void)
{
    uint64_t number;
    randombytes_buf(&number, sizeof number);
    return (int64_t)(number >> 1) + 1;
}

int pg_pool_init(struct pg_pool *p, const char *url, int connections, struct err *e)
{
    pthread_condattr_t monotonic;
    *p = (struct pg_pool){.count =
                              (size_t)(connections > 0 ? connections : PG_POOL_DEFAULT)};
    if (p->count > PG_POOL_MAX)
        p->count = PG_POOL_MAX;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->freed, &monotonic);
    pthread_cond_init(&p->heard, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (sodium_init() < 0)
        return err_set(e, ERR_UNSUPPORTED, "the system gives no randomness");
    p->conns = mem_array(p->count, sizeof *p->conns);
    if (!p->conns)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < p->count; i++)
        p->conns[i] = (struct pg_conn){.slot = draw(), .silences = &p->silences};
    return pg_place_init(&p->place, url, e);
}

void pg_pool_release(struct pg_pool *p)
{
    for (size_t i = 0; p->conns && i < p->count; i++)
        pg_conn_close(&p->conns[i]);
    free(p->conns);
    pg_place_release(&p->place);
    pthread_cond_destroy(&p->heard);
    pthread_cond_destroy(&p->freed);
    pthread_mutex_destroy(&p->lock);
}

static struct timespec as_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static void sleep_until(int64_t at_ns)
{
    int64_t left = at_ns - clock_monotonic_ns();
    struct timespec pause = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    if (left > 0)
        nanosleep(&pause, NULL);
}

/* Between half and all of it, so that those who were broken off together do not come
 * back together. */
static int64_t with_jitter(int64_t ns)
{
    return ns / 2 + (int64_t)randombytes_uniform((uint32_t)(ns / 2000 + 1)) * 1000;
}

/* ---- the pool -------------------------------------------------------------------- */

/* One that is connected rather than one that is not. Call with the lock held. */
static struct pg_conn *find_free(struct pg_pool *p)
{
    struct pg_conn *found = NULL;
    for (size_t i = 0; i < p->count; i++)
        if (!p->conns[i].taken && (!found || (p->conns[i].pg && !found->pg)))
            found = &p->conns[i];
    return found;
}

static struct pg_conn *take(struct pg_pool *p, int64_t until_ns)
{
    const struct timespec until = as_timespec(until_ns);
    struct pg_conn *c;
    int late = 0;
    pthread_mutex_lock(&p->lock);
    while (!(c = find_free(p)) && !late)
        late = pthread_cond_timedwait(&p->freed, &p->lock, &until);
    if (c)
        c->taken = true;
    bool stale = c && c->pg && c->generation != p->generation;
    pthread_mutex_unlock(&p->lock);
    if (stale || (c && c->pg && pg_conn_dead(c)))
        pg_conn_close(c);
    return c;
}

static void give_back(struct pg_pool *p, struct pg_conn *c)
{
    bool lost = c->lost && c->pg;
    if (lost)
        pg_conn_close(c);
    pthread_mutex_lock(&p->lock);
    if (lost && c->generation == p->generation)
        p->generation++;
    c->taken = false;
    pthread_cond_signal(&p->freed);
    pthread_mutex_unlock(&p->lock);
}

/* ---- silence --------------------------------------------------------------------- */

void pg_pool_silent(struct pg_pool *p, int64_t since_ns)
{
    pthread_mutex_lock(&p->lock);
    bool is_new = !p->silent_since_ns;
    if (is_new) {
        p->silent_since_ns = since_ns;
        p->generation++;
        atomic_fetch_add(&p->silences, 1);
    }
    pthread_mutex_unlock(&p->lock);
    if (is_new)
        log_warning("%s does not answer", p->place.name);
}

void pg_pool_heard(struct pg_pool *p, bool anew)
{
    pthread_mutex_lock(&p->lock);
    bool was_silent = p->silent_since_ns;
    p->silent_since_ns = 0;
    if (anew)
        p->generation++;
    pthread_cond_broadcast(&p->heard);
    pthread_mutex_unlock(&p->lock);
    if (was_silent)
        log_info("%s answers again", p->place.name);
}

/* Whether it answers, as far as is known. One that is silent is waited for as one that is
 * away. */
static bool wait_for_voice(struct pg_pool *p, int64_t until_ns)
{
    int late = 0;
    pthread_mutex_lock(&p->lock);
    while (p->silent_since_ns && !late) {
        int64_t end_ns = p->silent_since_ns + PG_PATIENCE_NS;
        const struct timespec until = as_timespec(end_ns < until_ns ? end_ns : until_ns);
        late = pthread_cond_timedwait(&p->heard, &p->lock, &until);
    }
    bool answers = !p->silent_since_ns;
    pthread_mutex_unlock(&p->lock);
    return answers;
}

/* ---- away ------------------------------------------------------------------------ */

/* When to knock next; `gives_up`: it has been away for so long that nobody waits. */
static int64_t next_knock(struct pg_pool *p, bool *gives_up)
{
    pthread_mutex_lock(&p->lock);
    int64_t now = clock_monotonic_ns(), at = p->knock_at_ns;
    *gives_up = p->away_since_ns && now - p->away_since_ns > PG_PATIENCE_NS;
    /* Whoever comes first knocks; for the others it is too early then. */
    if (p->away_since_ns && at <= now)
        p->knock_at_ns = now + with_jitter(p->pause_ns);
    pthread_mutex_unlock(&p->lock);
    return at;
}

static void note_knock(struct pg_pool *p, struct pg_conn *c, int status,
                       const struct err *e)
{
    pthread_mutex_lock(&p->lock);
    bool was_away = p->away_told, tell = false;
    int64_t now = clock_monotonic_ns();
    if (!status) {
        c->generation = p->generation;
        p->away_since_ns = p->knock_at_ns = p->pause_ns = 0;
        p->away_told = false;
    } else {
        if (!p->away_since_ns)
            p->away_since_ns = now;
        p->pause_ns = p->pause_ns ? p->pause_ns * 2 : FIRST_PAUSE_NS;
        if (p->pause_ns > MOST_PAUSE_NS)
            p->pause_ns = MOST_PAUSE_NS;
        p->knock_at_ns = now + with_jitter(p->pause_ns);
        tell = status == ERR_AWAY && !p->away_told;
        p->away_told |= tell;
    }
    pthread_mutex_unlock(&p->lock);
    if (tell)
        log_warning("%s", e->message);
    if (!status && was_away)
        log_info("%s is back", p->place.name);
}

static int64_t connect_until(int64_t until_ns)
{
    int64_t now = clock_monotonic_ns(), most = now + CONNECT_NS;
    if (until_ns < now + LEAST_CONNECT_NS)
        return now + LEAST_CONNECT_NS;
    return until_ns < most ? until_ns : most;
}

static int connect_it(struct pg_pool *p, struct pg_conn *c, int64_t until_ns,
                      struct err *e)
{
    for (;;) {
        struct err why = {0};
        bool gives_up;
        if (!wait_for_voice(p, until_ns))
            return err_set(e, ERR_AWAY, "%s does not answer", p->place.name);
        int64_t at = next_knock(p, &gives_up), now = clock_monotonic_ns();
        if (at > now && (gives_up || at >= until_ns))
            return err_set(e, ERR_AWAY, "%s cannot be reached", p->place.name);
        sleep_until(at);
        if (at > now)
            continue; /* perhaps somebody else knows meanwhile */
        int status =
            pg_conn_open(c, &p->place, p->instance, connect_until(until_ns), &why);
        note_knock(p, c, status, &why);
        if (!status)
            return 0;
        /* Later on that is not the caller's doing, whatever it is. */
        if (status != ERR_AWAY || clock_monotonic_ns() >= until_ns)
            return err_set(e, p->opened ? ERR_AWAY : status, "%s", why.message);
    }
}

static int acquire(struct pg_pool *p, struct pg_conn **out, int64_t until_ns,
                   struct err *e)
{
    struct pg_conn *c = take(p, until_ns);
    *out = NULL;
    if (!c)
        return err_set(e, ERR_TIMEOUT,
                       "all %zu connections to %s are busy: raise DATABASE_CONNECTIONS, "
                       "or look there for what is slow",
                       p->count, p->place.name);
    int status = c->pg ? 0 : connect_it(p, c, until_ns, e);
    if (status) {
        give_back(p, c);
        return status;
    }
    c->lost = c->again = false;
    *out = c;
    return 0;
}

/* ---- the end of a transaction ---------------------------------------------------- */

/* What became of a commit whose answer was lost. It has written its number where this
 * looks, and if it is still under way, this waits for it: writing to the same row is what
 * waits, whether it was there before or not. 1: done, 0: undone, negative: it cannot be
 * said yet. */
static int ask_outcome(struct pg_pool *p, int64_t slot, int64_t number, int64_t until_ns,
                       struct err *e)
{
    struct pg_conn *c;
    PGresult *r = NULL;
    int status = acquire(p, &c, until_ns, e);
    if (status)
        return status;
    status =
        pg_ask(c, &r, e,
               "INSERT INTO commits (slot, number) VALUES ($1, 0) ON CONFLICT (slot) "
               "DO UPDATE SET slot = excluded.slot RETURNING number",
               "l", slot);
    if (!status)
        status = pg_int(r, 0, 0) == number;
    PQclear(r);
    give_back(p, c);
    return status;
}

/* ERR_AWAY: it was undone and may be tried again. */
static int find_outcome(struct pg_turn *t, int64_t number, struct err *e)
{
    int64_t until = clock_monotonic_ns() + OUTCOME_NS, slot = t->conn->slot;
    if (until < t->until_ns)
        until = t->until_ns;
    struct err why = {0};
    /* Whoever gets the connection next must not write where this is about to look. */
    t->conn->slot = draw();
    give_back(t->pool, t->conn);
    t->conn = NULL;
    do {
        int outcome = ask_outcome(t->pool, slot, number, until, &why);
        if (outcome == 1)
            return 0;
        if (outcome == 0)
            return err_set(e, ERR_AWAY, "the connection to %s broke off",
                           t->pool->place.name);
        sleep_until(clock_monotonic_ns() + FIRST_PAUSE_NS);
    } while (clock_monotonic_ns() < until);
    return err_set(e, ERR_UNSURE,
                   "%s does not say whether a change was made: look before it is made "
                   "again",
                   t->pool->place.name);
}

static int commit(struct pg_turn *t, struct err *e)
{
    PGresult *r = NULL;
    int64_t number = draw();
    int n = t->kind == PG_CHANGE
                ? pg_run(t->conn, e,
                         "INSERT INTO commits (slot, number) VALUES ($1, $2) "
                         "ON CONFLICT (slot) DO UPDATE SET number = excluded.number, "
                         "made = excluded.made",
                         "ll", t->conn->slot, number)
                : 0;
    if (n < 0)
        return n;
    int status = pg_ask(t->conn, &r, e, "COMMIT", "");
    /* One that failed before is rolled back by COMMIT, which says so in its answer. */
    if (!status && strcmp(PQcmdStatus(r), "COMMIT") != 0)
        status = err_set(e, ERR_IO, "%s undid a change", t->pool->place.name);
    PQclear(r);
    if (status && t->conn->lost)
        return t->kind == PG_CHANGE ? find_outcome(t, number, e) : 0;
    return status;
}

/* ---- turns ----------------------------------------------------------------------- */

static bool enter(struct pg_turn *t, int *status, struct err *e)
{
    for (;;) {
        *status = acquire(t->pool, &t->conn, t->until_ns, e);
        if (*status || t->kind == PG_LOOK)
            return !*status;
        *status = pg_run(t->conn, e,
                         t->kind == PG_CHANGE
                             ? "BEGIN"
                             : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                         "");
        if (*status >= 0) {
            *status = 0;
            return true;
        }
        bool lost = t->conn->lost;
        give_back(t->pool, t->conn);
        t->conn = NULL;
        if (!lost || ++t->rounds > MOST_ROUNDS || clock_monotonic_ns() >= t->until_ns)
            return false;
    }
}

/* Returns whether it is worth another round. */
static bool leave(struct pg_turn *t, int *status, struct err *e)
{
    bool again = false;
    if (!*status && t->kind != PG_LOOK)
        *status = commit(t, e);
    else if (*status && t->kind != PG_LOOK && !t->conn->lost) {
        /* The server goes on to wait for us in it otherwise. */
        bool deadlock = t->conn->again;
        (void)pg_run(t->conn, NULL, "ROLLBACK", "");
        t->conn->again = deadlock;
    }
    if (*status == ERR_DENIED && t->pool->opened)
        *status = err_set(e, ERR_IO, "%s took a right away: %s", t->pool->place.name,
                          "make its user the owner of what it made");
    if (!t->conn) { /* its outcome had to be asked for */
        again = *status == ERR_AWAY;
    } else {
        again = *status && (t->conn->lost || t->conn->again);
        if (PQtransactionStatus(t->conn->pg) != PQTRANS_IDLE)
            t->conn->lost = true;
        bool crossed = t->conn->again;
        give_back(t->pool, t->conn);
        t->conn = NULL;
        if (again && crossed)
            sleep_until(clock_monotonic_ns() +
                        with_jitter(2000000LL << (t->rounds < 6 ? t->rounds : 6)));
    }
    return again && ++t->rounds <= MOST_ROUNDS && clock_monotonic_ns() < t->until_ns;
}

bool pg_turn(struct pg_turn *t, int *status, struct err *e)
{
    if (!t->until_ns)
        t->until_ns = clock_monotonic_ns() + PG_PATIENCE_NS;
    else if (t->conn && !leave(t, status, e))
        return false;
    return enter(t, status, e);
}
