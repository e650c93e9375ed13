#include "store/pg_listen.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/pg_schema.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A server that fell silent is noticed by asking it something now and then. All of this
 * together is less than what a caller waits for (PG_PATIENCE_NS), and more than what a
 * server takes that only has much to do. */
#define ASK_MS     1500
#define ANSWER_NS  INT64_C(2500000000)
#define CONNECT_NS INT64_C(3000000000)
/* A wait is over a moment before its time. */
#define WAITED(since_ns, ns) (clock_monotonic_ns() - (since_ns) >= (ns) / 10 * 9)
#define FIRST_PAUSE_MS       100
#define MOST_PAUSE_MS        1000

struct pg_listener {
    struct pg_pool *pool; /* borrowed */
    struct pg_conn conn;
    int64_t heard_ns; /* when something came from the server */
    bool unanswered;  /* it took our question, and that was all */
    int stop;         /* owned eventfd */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of these, and held while they are used: */
    store_news_fn fn;
    void *arg; /* borrowed */
};

static bool is_stopped(struct pg_listener *l, int timeout_ms)
{
    struct pollfd p = {.fd = l->stop, .events = POLLIN};
    return poll(&p, 1, timeout_ms) > 0;
}

/* The lock is shared, so that this process has it at once when it comes back before the
 * server has noticed that it was gone. */
static int join(struct pg_listener *l, struct err *e)
{
    char sql[240];
    size_t count;
    const struct pg_step *steps = pg_steps(&count);
    int status = pg_conn_open(&l->conn, &l->pool->place, l->pool->instance,
                              clock_monotonic_ns() + CONNECT_NS, e);
    (void)snprintf(sql, sizeof sql,
                   "SELECT pg_advisory_lock_shared(%d, %d);"
                   "SELECT pg_advisory_lock_shared(%d, %d); LISTEN wt_jobs",
                   PG_LOCK_RUNNING, l->pool->instance, PG_LOCK_KNOWS,
                   steps[count - 1].version);
    l->conn.limit_ns = ANSWER_NS;
    if (!status)
        status = pg_script(&l->conn, sql, e);
    if (status)
        pg_conn_close(&l->conn);
    else
        l->heard_ns = clock_monotonic_ns();
    return status;
}

/* As often as it takes. One that refuses us is none that is silent: all who ask it hear
 * that at once. */
static bool join_again(struct pg_listener *l)
{
    int pause_ms = FIRST_PAUSE_MS;
    for (;;) {
        int64_t began_ns = clock_monotonic_ns();
        if (!join(l, NULL))
            break;
        if (l->unanswered || WAITED(began_ns, CONNECT_NS))
            pg_pool_silent(l->pool, l->heard_ns);
        if (is_stopped(l, pause_ms))
            return false;
        pause_ms = pause_ms * 2 < MOST_PAUSE_MS ? pause_ms * 2 : MOST_PAUSE_MS;
    }
    pg_pool_heard(l->pool, l->unanswered);
    l->unanswered = false;
    return true;
}

static void tell(struct pg_listener *l, const struct store_news *news)
{
    pthread_mutex_lock(&l->lock);
    if (l->fn)
        l->fn(l->arg, news);
    pthread_mutex_unlock(&l->lock);
}

/* The next word of "PROCESS ID STATUS ATTEMPT PROGRESS MESSAGE", which pg_schema.c's
 * job_log writes; "" when there is none. */
static void next_word(const char **at, char *out, size_t size)
{
    size_t n = strcspn(*at, " ");
    (void)snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), *at);
    *at += n + ((*at)[n] == ' ');
}

static void hear(struct pg_listener *l, const char *text)
{
    char process[16], status[16], attempt[16], progress[16];
    struct store_news news = {0};
    next_word(&text, process, sizeof process);
    next_word(&text, news.job_id, sizeof news.job_id);
    next_word(&text, status, sizeof status);
    next_word(&text, attempt, sizeof attempt);
    next_word(&text, progress, sizeof progress);
    news.message = text;
    news.by_service = strtol(process, NULL, 10) != 0;
    news.attempt = (int)strtol(attempt, NULL, 10);
    news.progress = (int)strtol(progress, NULL, 10);
    news.deleted = !strcmp(status, "deleted");
    /* Whoever else may send there is no reason to stumble. */
    if (strtol(process, NULL, 10) == l->pool->instance || !id_valid(news.job_id) ||
        (!news.deleted && !job_status_parse(status, &news.status)))
        return;
    tell(l, &news);
}

static bool ask(struct pg_listener *l)
{
    int64_t began_ns = clock_monotonic_ns();
    if (!pg_script(&l->conn, "SELECT 1", NULL))
        return true;
    l->unanswered = WAITED(began_ns, ANSWER_NS);
    return false;
}

/* Until the connection breaks. False: it is the end. */
static bool listen_on(struct pg_listener *l)
{
    PGnotify *n;
    for (;;) {
        struct pollfd p[2] = {{.fd = l->stop, .events = POLLIN},
                              {.fd = PQsocket(l->conn.pg), .events = POLLIN}};
        int ready = poll(p, 2, ASK_MS);
        if (p[0].revents)
            return false;
        if (ready == 0 && !ask(l))
            return true;
        if (!PQconsumeInput(l->conn.pg) || PQstatus(l->conn.pg) != CONNECTION_OK)
            return true;
        l->heard_ns = clock_monotonic_ns();
        while ((n = PQnotifies(l->conn.pg))) {
            hear(l, n->extra);
            PQfreemem(n);
        }
    }
}

static void *run(void *arg)
{
    struct pg_listener *l = arg;
    while (listen_on(l)) {
        pg_conn_close(&l->conn);
        if (!join_again(l))
            break;
        /* What was told meanwhile was not heard: look at everything. */
        struct store_news all = {.message = ""};
        tell(l, &all);
    }
    return NULL;
}

int pg_listener_start(struct pg_listener **out, struct pg_pool *p, struct err *e)
{
    struct pg_listener *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return err_set(e, ERR_NOMEM, "out of memory");
    l->pool = p;
    pthread_mutex_init(&l->lock, NULL);
    l->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = l->stop < 0 ? err_errno(e, "cannot make a doorbell") : join(l, e);
    if (!status) {
        errno = pthread_create(&l->thread, NULL, run, l);
        l->started = !errno;
        status = errno ? err_errno(e, "cannot start a thread") : 0;
    }
    if (status) {
        pg_listener_close(l);
        return status;
    }
    *out = l;
    return 0;
}

void pg_listener_tell(struct pg_listener *l, store_news_fn fn, void *arg)
{
    pthread_mutex_lock(&l->lock);
    l->fn = fn;
    l->arg = arg;
    pthread_mutex_unlock(&l->lock);
}

void pg_listener_close(struct pg_listener *l)
{
    if (!l)
        return;
    if (l->started) {
        uint64_t one = 1;
        ssize_t n = write(l->stop, &one, sizeof one);
        (void)n;
        pthread_join(l->thread, NULL);
    }
    pg_conn_close(&l->conn);
    if (l->stop >= 0)
        close(l->stop);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
