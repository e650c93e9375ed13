#include "http/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/exchange.h"
#include "http/listen.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

/* A thread per connection, with a cap. Handlers block: an upload waits for the disk, a
 * submission for the commit, a list for the database. With a thread each, a slow disk or
 * a slow client holds up nobody else and back-pressure is the kernel's: we read when we
 * can write. The idle ones cost little but address space. WebSockets, of which there may
 * be many for hours, give their thread back when they open (ws.c). */
#define MAX_CONNECTIONS 512
#define STACK_BYTES     ((size_t)1 << 20)
#define CONNECTION_BYTES                                                                 \
    ((size_t)64 << 10) /* head and read buffer; a longer head is 431 */
#define IDLE_SECONDS 30u

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        http_watch_remove(s->watch, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *context = info ? http_watch_add(s->watch, info->connect_fd) : NULL;
}

static void on_tick(void *arg)
{
    struct http_server *s = arg;
    size_t late = http_watch_sweep(s->watch, clock_monotonic_seconds());
    if (late)
        log_info("%zu connection%s closed: too slow to send a request", late,
                 late == 1 ? "" : "s");
}

__attribute__((format(printf, 2, 0))) static void
on_library_message(void *arg, const char *format, va_list args)
{
    (void)arg;
    char line[512];
    (void)vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

/* Paths and queries are decoded by us, after they are split. */
static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

static struct MHD_Daemon *start_daemon(struct http_server *s,
                                       const struct http_server_options *o)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG;
    unsigned connections =
        o->max_connections ? (unsigned)o->max_connections : MAX_CONNECTIONS;
    unsigned idle = o->idle_seconds ? (unsigned)o->idle_seconds : IDLE_SECONDS;
    /* The logger stands first: it is also told of what is wrong with the others. */
    return MHD_start_daemon(
        flags, 0, NULL, NULL, exchange_handle, s, MHD_OPTION_EXTERNAL_LOGGER,
        on_library_message, s, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_TIMEOUT, idle,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
        MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes,
        s, MHD_OPTION_URI_LOG_CALLBACK, exchange_uri, s, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_END);
}

static void server_free(struct http_server *s)
{
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    http_ws_loop_stop(s->ws);
    http_limiter_free(s->limiter);
    http_networks_release(&s->trusted);
    http_watch_free(s->watch);
    pthread_cond_destroy(&s->idle);
    pthread_cond_destroy(&s->released);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int prepare(struct http_server *s, const struct http_server_options *o,
                   struct err *e)
{
    int status = http_limiter_new(&s->limiter, o->rate_limit, e);
    if (status)
        return status;
    status =
        http_networks_parse(&s->trusted, o->trusted_proxies ? o->trusted_proxies : "", e);
    if (status) {
        err_prefix(e, "TRUSTED_PROXIES");
        return status;
    }
    s->watch = http_watch_new();
    if (!s->watch)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->listen_fd = http_listen(o->host, o->port, &s->port, &s->loopback, e);
    if (s->listen_fd < 0)
        return s->listen_fd;
    return http_ws_loop_start(&s->ws, on_tick, s, e);
}

int http_server_start(struct http_server **out, const struct http_server_options *o,
                      struct err *e)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->listen_fd = -1;
    s->routes = o->routes;
    s->n_routes = o->n_routes;
    s->app = o->app;
    s->admit = o->admit;
    s->leave = o->leave;
    s->error_shape = o->error_shape;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&s->released, NULL);
    /* A client that has gone is an error of write(2), not the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    int status = prepare(s, o, e);
    if (!status && !(s->daemon = start_daemon(s, o)))
        status =
            err_set(e, ERR_IO, "cannot start the HTTP server; LOG_LEVEL=DEBUG says why");
    if (status) {
        server_free(s);
        return status;
    }
    *out = s;
    return 0;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

bool http_server_loopback(const struct http_server *s)
{
    return s->loopback;
}

static void wait_until_idle(struct http_server *s, int grace_seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += grace_seconds;
    pthread_mutex_lock(&s->lock);
    while (s->active > 0 &&
           pthread_cond_timedwait(&s->idle, &s->lock, &until) != ETIMEDOUT)
        ;
    if (s->active > 0)
        log_warning("%d request%s cut off", s->active, s->active == 1 ? "" : "s");
    pthread_mutex_unlock(&s->lock);
}

void http_server_stop(struct http_server *s, int grace_seconds)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    (void)MHD_quiesce_daemon(s->daemon); /* the descriptor is ours to close, later */
    http_ws_loop_stop(s->ws);
    s->ws = NULL;
    wait_until_idle(s, grace_seconds);
    MHD_stop_daemon(s->daemon);
    server_free(s);
}
