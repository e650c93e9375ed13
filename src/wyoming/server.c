#include "wyoming/server.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/listen.h"
#include "wyoming/talk.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS 64
#define MAX_REFUSED     64 /* beyond those; each is told so, the rest is cut off */
#define STACK_BYTES     ((size_t)512 << 10)
#define PAUSE_MS        200 /* when no descriptor is left for a connection */

struct wyoming_server {
    struct talk_options options; /* .stop_fd is owned */
    int listen_fd;               /* owned; -1: none */
    int port;
    bool loopback;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended; /* a connection has */
    int n_connections, n_refused;
};

struct connection {
    struct wyoming_server *server; /* borrowed */
    int fd;                        /* owned */
    bool refused;
};

/* ---- connections ---- */

static void leave(struct wyoming_server *s, bool refused)
{
    pthread_mutex_lock(&s->lock);
    if (refused)
        s->n_refused--;
    else
        s->n_connections--;
    pthread_cond_broadcast(&s->ended);
    pthread_mutex_unlock(&s->lock);
}

/* False: there is room for nothing but the end. */
static bool enter(struct wyoming_server *s, bool *refused)
{
    pthread_mutex_lock(&s->lock);
    *refused = s->n_connections >= MAX_CONNECTIONS;
    bool room = !*refused || s->n_refused < MAX_REFUSED;
    if (room && *refused)
        s->n_refused++;
    else if (room)
        s->n_connections++;
    pthread_mutex_unlock(&s->lock);
    return room;
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    if (c->refused)
        talk_refuse(c->fd, c->server->options.stop_fd, "busy",
                    "too many are connected: try again later");
    else
        talk_run(c->fd, &c->server->options);
    shutdown(c->fd, SHUT_RDWR);
    close(c->fd);
    leave(c->server, c->refused);
    free(c);
    return NULL;
}

static int start_thread(struct connection *c)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, serve, c);
    pthread_attr_destroy(&attributes);
    return error;
}

/* Takes the socket over. */
static void welcome(struct wyoming_server *s, int fd)
{
    int yes = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    bool refused;
    bool room = enter(s, &refused);
    struct connection *c = room ? mem_array(1, sizeof *c) : NULL;
    if (c) {
        *c = (struct connection){s, fd, refused};
        if (!start_thread(c))
            return;
    }
    free(c);
    if (room)
        leave(s, refused);
    close(fd);
}

static void *listen_for(void *arg)
{
    struct wyoming_server *s = arg;
    struct pollfd p[2] = {{.fd = s->listen_fd, .events = POLLIN},
                          {.fd = s->options.stop_fd, .events = POLLIN}};
    for (;;) {
        (void)poll(p, 2, -1);
        if (p[1].revents)
            return NULL;
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            welcome(s, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            (void)poll(&p[1], 1, PAUSE_MS);
    }
}

/* ---- start and end ---- */

/* What was said to a former process. */
static void forget_left(struct jobs *jobs)
{
    struct job_filter filter = {.limit = 100, .caller = WYOMING_CALLER};
    for (bool more = true; more;) {
        struct job_list list = {0};
        if (jobs_list(jobs, &filter, &list, NULL))
            return;
        more = list.count == 100;
        for (size_t i = 0; i < list.count; i++)
            if (jobs_delete(jobs, list.jobs[i].id, NULL))
                more = false;
        job_list_release(&list);
    }
}

static int start(struct wyoming_server *s, int given, struct err *e)
{
    const struct config *c = s->options.config;
    const char *host = c->wyoming_host ? c->wyoming_host : c->host;
    s->options.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->options.stop_fd < 0)
        return err_errno(e, "cannot make a doorbell");
    s->listen_fd =
        given >= 0 ? http_listen_given(given, &s->port, &s->loopback, e)
                   : http_listen(host, (int)c->wyoming_port, &s->port, &s->loopback, e);
    if (s->listen_fd < 0) {
        int status = s->listen_fd;
        s->listen_fd = -1;
        (void)err_prefix(e, "the Wyoming door (WYOMING_HOST, WYOMING_PORT)");
        return status;
    }
    forget_left(s->options.jobs);
    errno = pthread_create(&s->thread, NULL, listen_for, s);
    s->started = !errno;
    return errno ? err_errno(e, "cannot start a thread") : 0;
}

int wyoming_start(struct wyoming_server **out, const struct config *c, struct jobs *jobs,
                  int given, struct err *e)
{
    *out = NULL;
    struct wyoming_server *s = mem_array(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->options = (struct talk_options){.config = c, .jobs = jobs, .stop_fd = -1};
    s->listen_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->ended, NULL);
    int status = start(s, given, e);
    if (status) {
        wyoming_stop(s);
        return status;
    }
    *out = s;
    return 0;
}

int wyoming_port(const struct wyoming_server *s)
{
    return s->port;
}

bool wyoming_loopback(const struct wyoming_server *s)
{
    return s->loopback;
}

void wyoming_stop(struct wyoming_server *s)
{
    if (!s)
        return;
    uint64_t one = 1;
    if (s->options.stop_fd >= 0)
        (void)!write(s->options.stop_fd, &one, sizeof one);
    if (s->started)
        pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    while (s->n_connections > 0 || s->n_refused > 0)
        pthread_cond_wait(&s->ended, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->options.stop_fd >= 0)
        close(s->options.stop_fd);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
