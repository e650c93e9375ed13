#include "http/refuse.h"

#include <errno.h>
#include <strings.h>
#include <sys/socket.h>

/* What the socket does not take at once is lost: an answer is small, a socket that is
 * full of what came before is not worth a thread. */
static void send_once(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        bytes += n;
        length -= (size_t)n;
    }
}

bool http_drop_unread(int fd)
{
    char dropped[4096];
    ssize_t n = 1;
    for (int turn = 0; turn < 16 && n > 0; turn++)
        n = recv(fd, dropped, sizeof dropped, MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
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
        if (strcasecmp(r->headers.list[i].name, "Connection") != 0)
            buf_printf(&out, "%s: %s\r\n", r->headers.list[i].name,
                       r->headers.list[i].value);
    buf_str(&out, "\r\n");
    if (!head)
        buf_add(&out, body, length);
    if (!buf_failed(&out))
        send_once(fd, buf_cstr(&out), out.length);
    shutdown(fd, SHUT_WR);
    buf_release(&out);
    return head ? 0 : length;
}
