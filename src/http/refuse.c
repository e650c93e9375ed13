#include "http/refuse.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define SEND_WAIT_MS 2000
#define DRAIN_MS     2000

static bool wait_for(int fd, short events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    return ms > 0 && poll(&p, 1, ms) == 1;
}

static bool send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (n < 0 && errno == EAGAIN && !wait_for(fd, POLLOUT, SEND_WAIT_MS))
            return false;
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
    return true;
}

static void drain(int fd)
{
    char dropped[65536];
    int64_t end_ms = clock_monotonic_ns() / 1000000 + DRAIN_MS;
    for (;;) {
        int left = (int)(end_ms - clock_monotonic_ns() / 1000000);
        if (!wait_for(fd, POLLIN, left))
            return;
        ssize_t n = recv(fd, dropped, sizeof dropped, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
    }
}

size_t http_refuse(int fd, const struct http_response *r, bool head)
{
    const char *body = r->fixed ? r->fixed : buf_cstr(&r->body);
    size_t length = r->fixed ? r->fixed_length : r->body.length;
    struct buf out;
    buf_init(&out, HTTP_BODY_MAX);
    buf_printf(&out, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
               r->status, http_reason(r->status), length);
    for (size_t i = 0; i < r->headers.count; i++)
        buf_printf(&out, "%s: %s\r\n", r->headers.list[i].name, r->headers.list[i].value);
    buf_str(&out, "\r\n");
    if (!head)
        buf_add(&out, body, length);
    if (!buf_failed(&out) && send_all(fd, buf_cstr(&out), out.length)) {
        shutdown(fd, SHUT_WR);
        drain(fd);
    }
    buf_release(&out);
    return head ? 0 : length;
}
