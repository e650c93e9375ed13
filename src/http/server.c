#include "http/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/retired.h"
#include "http/exchange.h"
#include "http/listen.h"
#include "http/peers.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <unistd.h>

/* A few threads of libmicrohttpd wait with epoll for every connection, so that an idle
 * one costs its memory and no more. Handlers block: an upload waits for the disk, a
 * submission for the commit, a list for the database. They run on a pool, whose line is
 * bounded: who comes when it is full is told so at once, which costs next to nothing. */
#define CONNECTIONS   8192
#define PER_CLIENT    256
#define FILES_OF_OURS 256 /* descriptors that are no connections */
#define CONNECTION_BYTES                                                                 \
    ((size_t)32 << 10) /* head, read and write buffer; the library clears all of it */
#define CONNECTION_BYTES_1_0 ((size_t)36 << 10)
#define IDLE_SECONDS         30u
#define POOL_THREADS         64
#define POOL_LINE            256

/* Who waits in a trusted proxy's place is told apart by it, not by us. */
static bool is_counted(const struct http_server *s, const struct http_address *peer)
{
    return !http_networks_hold(s->trusted, peer);
}

/* A client that holds too many is not even read from. */
static enum MHD_Result on_accept(void *cls, const struct sockaddr *sa, socklen_t length)
{
    (void)length;
    struct http_server *s = cls;
    struct http_address peer;
    bool known = sa && http_address_from(sa, &peer);
    if (!known || !is_counted(s, &peer) ||
        http_peers_count(s->peers, &peer) < s->per_client)
        return MHD_YES;
    http_tally_turned_away(s->tally);
    return MHD_NO;
}

static struct http_connection *open_connection(struct http_server *s,
                                               struct MHD_Connection *connection)
{
    struct http_connection *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info)
        c->watched = http_watch_add(s->watch, info->connect_fd);
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr)
        c->counted =
            http_address_from(info->client_addr, &c->peer) && is_counted(s, &c->peer);
    if (c->counted)
        http_peers_add(s->peers, &c->peer);
    return c;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = open_connection(s, connection);
        return;
    }
    struct http_connection *c = *context;
    *context = NULL;
    if (!c)
        return;
    http_watch_remove(s->watch, c->watched);
    if (c->counted)
        http_peers_remove(s->peers, &c->peer);
    free(c);
}

static void on_tick(void *arg)
{
    struct http_server *s = arg;
    size_t late = http_watch_sweep(s->watch, clock_monotonic_seconds());
    if (late)
        log_info(
            "%zu connection%s closed: too slow to send a request, or to read its answer",
            late, late == 1 ? "" : "s");
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

/* Descriptors are what connections are made of: take as many as we may. */
static unsigned possible_connections(unsigned wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return wanted;
    rlim_t needed = (rlim_t)wanted + FILES_OF_OURS;
    if (limit.rlim_cur < needed) {
        limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        if (getrlimit(RLIMIT_NOFILE, &limit))
            return wanted;
    }
    if (limit.rlim_cur >= needed)
        return wanted;
    unsigned possible = limit.rlim_cur > 2 * FILES_OF_OURS
                            ? (unsigned)(limit.rlim_cur - FILES_OF_OURS)
                            : FILES_OF_OURS;
    log_warning("%u connections at once, not %u: raise the limit of open files (ulimit "
                "-n, LimitNOFILE=) to %llu",
                possible, wanted, (unsigned long long)needed);
    return possible < wanted ? possible : wanted;
}

/* Each looks through its own suspended connections when one is resumed. */
static unsigned loop_threads(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors >= 4 ? 4 : 2;
}

/* Debian 12 and Ubuntu 22.04 have 0.9.75, Debian 13 and Ubuntu 24.04 have 1.0; a program
 * that was built for one can meet the other.
 *
 * What a strict 0.9 would refuse (a space in the path, no Host) we refuse: it sends the
 * head of such a refusal twice. A strict 1.0 refuses bare LFs, folded lines and NULs,
 * which nobody could see afterwards, and says so once.
 *
 * Of a head that leaves less than 1500 bytes of its half of a connection's memory, 1.0
 * writes over the end: with 36 KiB only a head that is too long does. */
static bool is_version_1(void)
{
    return strncmp(MHD_get_version(), "0.", 2) != 0;
}

static struct MHD_Daemon *start_daemon(struct http_server *s,
                                       const struct http_server_options *o)
{
    unsigned flags = MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG;
    unsigned connections = possible_connections(
        o->max_connections ? (unsigned)o->max_connections : CONNECTIONS);
    s->max_connections = connections;
    unsigned idle = o->idle_seconds ? (unsigned)o->idle_seconds : IDLE_SECONDS;
    int strict = is_version_1();
    size_t bytes = strict ? CONNECTION_BYTES_1_0 : CONNECTION_BYTES;
    /* The logger stands first: it is also told of what is wrong with the others. */
    return MHD_start_daemon(
        flags, 0, on_accept, s, exchange_handle, s, MHD_OPTION_EXTERNAL_LOGGER,
        on_library_message, s, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
        MHD_OPTION_THREAD_POOL_SIZE, loop_threads(), MHD_OPTION_CONNECTION_LIMIT,
        connections, MHD_OPTION_CONNECTION_TIMEOUT, idle,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, bytes, MHD_OPTION_STRICT_FOR_CLIENT, strict,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes,
        s, MHD_OPTION_URI_LOG_CALLBACK, exchange_uri, s, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_END);
}

void http_server_free(struct http_server *s)
{
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    http_ws_loop_stop(s->ws);
    http_pool_free(s->pool); /* what has gone is finished on it */
    http_ws_loop_free(s->ws);
    http_waiter_free(s->waiter);
    http_limiter_free(s->limiter);
    http_networks_free(s->trusted);
    retired_free(s->retired);
    http_watch_free(s->watch);
    http_peers_free(s->peers);
    http_tally_free(s->tally);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int http_server_trust(struct http_server *s, const char *proxies, struct err *e)
{
    struct http_networks *networks;
    int status = http_networks_new(&networks, proxies ? proxies : "", e);
    if (status)
        return err_prefix(e, "TRUSTED_PROXIES");
    retire(&s->retired, s->trusted, http_networks_free);
    s->trusted = networks;
    return 0;
}

static int prepare(struct http_server *s, const struct http_server_options *o,
                   struct err *e)
{
    int status = http_limiter_new(&s->limiter, o->rate_limit, e);
    if (status)
        return status;
    status = http_server_trust(s, o->trusted_proxies, e);
    if (status)
        return status;
    s->watch = http_watch_new();
    s->peers = http_peers_new();
    s->tally = http_tally_new(s->routes, s->n_routes);
    if (!s->watch || !s->peers || !s->tally)
        return err_set(e, ERR_NOMEM, "out of memory");
    status = http_pool_new(&s->pool, POOL_THREADS, POOL_LINE, e);
    if (!status)
        status = http_waiter_new(&s->waiter, e);
    if (status)
        return status;
    s->given = o->given_socket > 0;
    s->listen_fd = s->given
                       ? http_listen_given(o->given_socket, &s->port, &s->loopback, e)
                       : http_listen(o->host, o->port, &s->port, &s->loopback, e);
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
    s->per_client = o->max_per_client ? o->max_per_client : PER_CLIENT;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    /* A client that has gone is an error of write(2), not the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    int status = prepare(s, o, e);
    if (!status && !(s->daemon = start_daemon(s, o)))
        status =
            err_set(e, ERR_IO, "cannot start the HTTP server; LOG_LEVEL=DEBUG says why");
    if (status) {
        http_server_free(s);
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
