#include "cutter.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 64

struct relay {
    struct cutter *cutter;
    int client, server;
    pthread_t thread;
    bool swallowed; /* something that was never passed on */
};

struct cutter {
    int listener, port, to_port;
    atomic_bool closing, silent;
    pthread_t thread;
    struct relay relays[MOST];
    size_t count;
    pthread_mutex_t lock;
    char tag[32];
    int left;
};

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool is_cut(struct cutter *c, const char *bytes, size_t length)
{
    pthread_mutex_lock(&c->lock);
    bool cut = c->left > 0 && memmem(bytes, length, c->tag, strlen(c->tag) + 1);
    c->left -= cut;
    pthread_mutex_unlock(&c->lock);
    return cut;
}

/* False: one side has closed, or it is cut. */
static bool pass_on(struct relay *r, int from, int to)
{
    char bytes[65536];
    ssize_t n = recv(from, bytes, sizeof bytes, 0);
    if (n > 0 && atomic_load(&r->cutter->silent))
        return r->swallowed = true;
    if (n <= 0 || (from == r->server && is_cut(r->cutter, bytes, (size_t)n)))
        return false;
    for (ssize_t at = 0; at < n;) {
        ssize_t sent = send(to, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
    }
    return true;
}

static void *run_relay(void *arg)
{
    struct relay *r = arg;
    bool open = true;
    while (open && !atomic_load(&r->cutter->closing)) {
        struct pollfd p[2] = {{.fd = r->client, .events = POLLIN},
                              {.fd = r->server, .events = POLLIN}};
        (void)poll(p, 2, 50);
        if (r->swallowed && !atomic_load(&r->cutter->silent))
            break;
        if (p[0].revents)
            open = pass_on(r, r->client, r->server);
        if (open && p[1].revents)
            open = pass_on(r, r->server, r->client);
    }
    close(r->client);
    close(r->server);
    return NULL;
}

static void *run(void *arg)
{
    struct cutter *c = arg;
    while (!atomic_load(&c->closing)) {
        struct pollfd p = {.fd = c->listener, .events = POLLIN};
        if (poll(&p, 1, 50) <= 0 || c->count == MOST)
            continue;
        struct relay *r = &c->relays[c->count];
        struct sockaddr_in to = loopback(c->to_port);
        *r = (struct relay){.cutter = c, .client = accept(c->listener, NULL, NULL)};
        r->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(r->server, (struct sockaddr *)&to, sizeof to) ||
            pthread_create(&r->thread, NULL, run_relay, r))
            abort();
        c->count++;
    }
    return NULL;
}

struct cutter *cutter_start(int to_port)
{
    struct cutter *c = calloc(1, sizeof *c);
    struct sockaddr_in a = loopback(0);
    socklen_t length = sizeof a;
    if (!c)
        abort();
    pthread_mutex_init(&c->lock, NULL);
    c->to_port = to_port;
    c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(c->listener, (struct sockaddr *)&a, sizeof a) || listen(c->listener, 16) ||
        getsockname(c->listener, (struct sockaddr *)&a, &length) ||
        pthread_create(&c->thread, NULL, run, c))
        abort();
    c->port = ntohs(a.sin_port);
    return c;
}

int cutter_port(const struct cutter *c)
{
    return c->port;
}

void cutter_arm(struct cutter *c, const char *tag, int times)
{
    pthread_mutex_lock(&c->lock);
    (void)snprintf(c->tag, sizeof c->tag, "%s", tag);
    c->left = times;
    pthread_mutex_unlock(&c->lock);
}

int cutter_left(struct cutter *c)
{
    pthread_mutex_lock(&c->lock);
    int left = c->left;
    pthread_mutex_unlock(&c->lock);
    return left;
}

void cutter_silence(struct cutter *c, bool silent)
{
    atomic_store(&c->silent, silent);
}

void cutter_stop(struct cutter *c)
{
    atomic_store(&c->closing, true);
    pthread_join(c->thread, NULL);
    for (size_t i = 0; i < c->count; i++)
        pthread_join(c->relays[i].thread, NULL);
    close(c->listener);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
