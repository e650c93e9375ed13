/* SQLite tells nobody of a change, but PRAGMA data_version says whether anybody else has
 * committed one: asked on the only connection of this process that writes, "else" is
 * another process. It reads a few bytes of memory that is shared, so it is asked several
 * times a second; what was changed, the log of changes says. */
#include "store/sqlite_listen.h"

#include "base/log.h"
#include "store/sqlite_native.h"
#include "store/sqlite_read.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOK_MS    300
#define MOST_LINES 500

struct sqlite_listener {
    struct sqlite_store *store; /* borrowed */
    store_news_fn fn;
    void *arg; /* borrowed */
    pthread_t thread;
    int bell;   /* owned eventfd: it rings for the end */
    bool known; /* the other two are: */
    int64_t version, newest;
};

static int ask(struct sqlite_conn *c, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *stmt;
    int status = sqlite_conn_prepare(c, sql, &stmt, e);
    if (status)
        return status;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    else
        status = sqlite_conn_error(c, e);
    sqlite3_reset(stmt);
    return status;
}

/* The end of the log first: a change between the two questions is then found at the next
 * look, instead of never. */
static int look(struct sqlite_listener *l, int64_t *newest, int64_t *version,
                struct err *e)
{
    struct sqlite_conn *c = sqlite_store_writer(l->store);
    int status = ask(c, "SELECT COALESCE(MAX(number), 0) FROM job_events", newest, e);
    if (!status)
        status = ask(c, "PRAGMA data_version", version, e);
    sqlite_store_done(c);
    return status;
}

/* As the job is now, which may be later than the line of the log. */
static void tell_of(struct sqlite_listener *l, const char *id)
{
    struct job j;
    struct store_news news = {0};
    memcpy(news.job_id, id, ID_SIZE);
    int status = sqlite_read_get(&l->store->base, id, &j, NULL);
    if (status == ERR_NOT_FOUND) {
        news.deleted = true;
        news.attempt = INT32_MAX; /* whichever it was */
        news.message = "";
        l->fn(l->arg, &news);
    } else if (!status) {
        news.status = j.status;
        news.attempt = j.attempt;
        news.progress = j.progress;
        news.message = j.status == JOB_FAILED && j.error_message ? j.error_message
                       : j.message                               ? j.message
                                                                 : "";
        l->fn(l->arg, &news);
        job_release(&j);
    }
}

static bool is_first(const struct store_event_list *lines, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!strcmp(lines->events[k].job_id, lines->events[i].job_id))
            return false;
    return true;
}

/* Each job that changed since the last look. Among them may be some of our own. */
static int tell(struct sqlite_listener *l, struct err *e)
{
    struct store_event_list lines;
    const struct store_news all = {.message = ""};
    int status = sqlite_log_read(&l->store->base, l->newest, NULL, MOST_LINES, &lines, e);
    if (status)
        return status;
    for (size_t i = 0; i < lines.count; i++)
        if (is_first(&lines, i))
            tell_of(l, lines.events[i].job_id);
    if (lines.count == MOST_LINES)
        l->fn(l->arg, &all);
    store_event_list_release(&lines);
    return 0;
}

static void *run(void *arg)
{
    struct sqlite_listener *l = arg;
    struct pollfd p = {.fd = l->bell, .events = POLLIN};
    while (poll(&p, 1, LOOK_MS) <= 0) {
        int64_t newest = 0, version = 0;
        struct err e;
        /* What is wrong with the database is told by those who need it; the place in the
         * log stays, and the next look is from there. */
        if (look(l, &newest, &version, &e))
            continue;
        if (l->known && version != l->version && tell(l, &e))
            continue;
        l->version = version;
        l->newest = newest;
        l->known = true;
    }
    return NULL;
}

static void stop(struct sqlite_store *s)
{
    struct sqlite_listener *l = s->listener;
    if (!l)
        return;
    const uint64_t one = 1;
    ssize_t n = write(l->bell, &one, sizeof one);
    (void)n; /* it never rang before */
    pthread_join(l->thread, NULL);
    close(l->bell);
    free(l);
    s->listener = NULL;
}

void sqlite_listen(struct store *base, store_news_fn fn, void *arg)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct err e;
    stop(s);
    if (!fn || s->lock_fd < 0)
        return;
    struct sqlite_listener *l = calloc(1, sizeof *l);
    if (!l) {
        log_warning("changes by the command line are heard of late: out of memory");
        return;
    }
    *l = (struct sqlite_listener){.store = s, .fn = fn, .arg = arg};
    l->known = !look(l, &l->newest, &l->version, &e); /* from now on it is told of */
    l->bell = eventfd(0, EFD_CLOEXEC);
    errno = l->bell < 0 ? errno : pthread_create(&l->thread, NULL, run, l);
    if (errno) {
        (void)err_errno(&e, "changes by the command line are heard of late");
        log_warning("%s", e.message);
        if (l->bell >= 0)
            close(l->bell);
        free(l);
        return;
    }
    s->listener = l;
}
