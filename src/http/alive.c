/* Whether the server's threads still do what they are for. A thread that only counts time
 * would say yes for ever; so somebody comes to the door, asks, and sees whether anything
 * happens. What is answered does not matter: a refusal is a sign of life, too. */
#include "http/exchange.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Where it listens; on every address: this machine's own. */
static int find_door(int fd, struct sockaddr_storage *sa, socklen_t *length)
{
    *length = sizeof *sa;
    if (getsockname(fd, (struct sockaddr *)sa, length))
        return -1;
    struct sockaddr_in *v4 = (struct sockaddr_in *)sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)sa;
    if (sa->ss_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY))
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sa->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
        v6->sin6_addr = in6addr_loopback;
    return 0;
}

static bool wait_for(int fd, short what, int seconds)
{
    struct pollfd p = {.fd = fd, .events = what};
    int n;
    do
        n = poll(&p, 1, seconds * 1000);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* A connection that is closed at once was taken by somebody, too. */
static bool ask(int fd, const struct sockaddr_storage *sa, socklen_t length, int seconds)
{
    static const char request[] = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
                                  "Connection: close\r\n\r\n";
    if (connect(fd, (const struct sockaddr *)sa, length) && errno != EINPROGRESS)
        return false;
    if (!wait_for(fd, POLLOUT, seconds))
        return false;
    (void)send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
    return wait_for(fd, POLLIN, seconds);
}

/* Where no more connections are taken than there are, nobody can come in, and those that
 * are in are the sign of life. */
static bool is_full(const struct http_server *s)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info && info->num_connections >= s->max_connections;
}

int http_server_alive(const struct http_server *s, int seconds, struct err *e)
{
    struct sockaddr_storage sa;
    socklen_t length;
    if (is_full(s) || find_door(s->listen_fd, &sa, &length))
        return 0;
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0; /* no descriptor is left: that says nothing of the threads */
    bool answered = ask(fd, &sa, length, seconds);
    close(fd);
    return answered ? 0
                    : err_set(e, ERR_TIMEOUT,
                              "the HTTP server has not answered itself in %d seconds",
                              seconds);
}
