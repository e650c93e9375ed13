#include "http/listen.h"

#include "http/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

static int bind_error(const char *host, int port, struct err *e)
{
    if (errno == EADDRINUSE)
        return err_set(
            e, ERR_EXISTS,
            "port %d on %s is in use: stop what is using it, or choose another "
            "one with --port or PORT",
            port, host);
    if (errno == EACCES)
        return err_set(e, ERR_DENIED,
                       "port %d may not be used without root: choose one above 1023 with "
                       "--port or PORT",
                       port);
    if (errno == EADDRNOTAVAIL)
        return err_set(e, ERR_INVALID,
                       "%s is no address of this machine: set HOST to one that is, or to "
                       "127.0.0.1",
                       host);
    return err_errno(e, "cannot listen on %s, port %d", host, port);
}

static int open_socket(const struct addrinfo *a, const char *host, int port,
                       struct err *e)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, "cannot open a socket");
    int yes = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 512))
        return fd;
    int status = bind_error(host, port, e);
    close(fd);
    return status;
}

static int port_of(int fd)
{
    struct sockaddr_storage sa;
    socklen_t length = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &length))
        return 0;
    if (sa.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
    return ntohs(((struct sockaddr_in *)&sa)->sin_port);
}

int http_listen(const char *host, int port, int *bound_port, bool *loopback,
                struct err *e)
{
    char service[16];
    (void)snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(host, service, &hints, &list);
    if (failed)
        return err_set(e, ERR_INVALID, "HOST: \"%s\" is no address: %s", host,
                       gai_strerror(failed));
    struct http_address address = {0};
    *loopback =
        http_address_from(list->ai_addr, &address) && http_address_loopback(&address);
    int fd = open_socket(list, host, port, e);
    freeaddrinfo(list);
    if (fd >= 0)
        *bound_port = port_of(fd);
    return fd;
}

static int option_of(int fd, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &length) ? -1 : value;
}

/* Another one than its number says would be read from as if it were a client. */
int http_listen_given(int fd, int *bound_port, bool *loopback, struct err *e)
{
    struct sockaddr_storage sa = {0};
    socklen_t length = sizeof sa;
    struct http_address address = {0};
    if (option_of(fd, SO_TYPE) != SOCK_STREAM || option_of(fd, SO_ACCEPTCONN) != 1 ||
        getsockname(fd, (struct sockaddr *)&sa, &length) ||
        !http_address_from((const struct sockaddr *)&sa, &address))
        return err_set(e, ERR_INVALID,
                       "the socket that the service manager hands over is not one that "
                       "listens for TCP: look at ListenStream= in its .socket unit");
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
        return err_errno(e, "the socket of the service manager cannot be used");
    *loopback = http_address_loopback(&address);
    *bound_port = port_of(fd);
    return fd;
}
