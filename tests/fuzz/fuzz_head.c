/* The head of a request, through the library that reads it and the judge of what it read.
 *
 * An input is what comes on a connection, and its first byte says where the network cuts
 * it. What passes is held against a second reading of the same bytes, which knows the
 * grammar of RFC 9112 alone: the same lines, in the same order, so that no server in
 * front of ours can have read another request. What cannot be seen there is said below.
 */
#include "fuzz.h"

#include "http/head.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static struct MHD_Daemon *server;
static const char *sent; /* the input */
static size_t sent_length;
static bool first_seen; /* only the first request begins where the input does */

static bool token(const char *p, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)p[i]) && !(p[i] && strchr("!#$%&'*+-.^_`|~", p[i])))
            return false;
    return length > 0;
}

/* What the judge cannot know. libmicrohttpd 0.9.75 takes a bare LF for the end of a line
 * and a line without a name (":") for the end of the head, and puts NULs in place of all
 * of these. So an end of two bytes is CR LF, or a NUL and a LF; the four bytes at the
 * very end are CR LF CR LF, or some others of these. No other spelling may pass. */
static bool ended(const char *p, size_t length)
{
    if (sent + sent_length - p < (ptrdiff_t)length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (p[i] && !strchr(length == 2 ? "\r\n" : "\r\n:", p[i]))
            return false;
    return true;
}

/* The field of the line at `p` must be `field`. Returns where its line ends, NULL where
 * the grammar allows no field. */
static const char *read_field(const char *p, const struct http_field *field)
{
    const char *colon = strchr(p, ':');
    size_t name = colon ? (size_t)(colon - p) : 0;
    if (!token(p, name) || strlen(field->name) != name || memcmp(field->name, p, name))
        return NULL;
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t length = strcspn(value, "\r\n");
    bool same = strlen(field->value) == length && !memcmp(field->value, value, length);
    return same ? value + length : NULL;
}

/* Empty lines before a request are none of it. To the library a line that begins with a
 * NUL is empty, whatever follows; nothing in front of us would send one. */
static const char *skip_empty(const char *p, const char *end)
{
    while (p < end && (!*p || *p == '\n' || !strncmp(p, "\r\n", 2))) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        p = line_end ? line_end + 1 : end;
    }
    return p;
}

/* A NUL of the client's own looks like one of the library's: what is around it cannot be
 * told. Nothing in front of us would send one. */
static void check(const struct http_head *head)
{
    const char *end = sent + sent_length, *p = skip_empty(sent, end);
    if (memchr(sent, '\0', sent_length))
        return;
    const char *line_end = memchr(p, '\n', (size_t)(end - p));
    HOLDS(line_end && line_end > p);
    p = line_end - 1; /* of the request line */
    for (size_t i = 0; i < head->count; i++) {
        HOLDS(ended(p, 2));
        p = read_field(p + 2, &head->list[i]);
        HOLDS(p);
    }
    HOLDS(ended(p, 4));
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection,
                              const char *url, const char *method, const char *version,
                              const char *upload_data, size_t *upload_size,
                              void **con_cls)
{
    (void)cls, (void)url, (void)upload_data, (void)upload_size, (void)con_cls;
    struct http_head *head = NULL;
    struct http_response refusal;
    http_response_init(&refusal);
    int status = http_head_copy(&head, connection, method, version, &refusal);
    HOLDS(!status == !!head && !status == !refusal.status);
    if (head && !first_seen)
        check(head);
    first_seen = true;
    free(head);
    http_response_release(&refusal);
    return MHD_NO; /* one request is enough: the connection closes */
}

static void quiet(void *arg, const char *format, va_list args)
{
    (void)arg, (void)format, (void)args;
}

static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg, (void)connection;
    return strlen(text);
}

/* As the product sets the library up, but without threads. */
static void prepare(void)
{
    if (server)
        return;
    server = MHD_start_daemon(
        MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        handle, NULL, MHD_OPTION_EXTERNAL_LOGGER, quiet, NULL,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32 << 10,
        MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
    HOLDS(server);
}

static void send_piece(int fd, const char *bytes, size_t length)
{
    /* What is already closed takes no more. */
    (void)!send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int i = 0; i < 3; i++)
        (void)MHD_run(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    if (size < 2 || size > 20000)
        return 0;
    prepare();
    char *text = malloc(size); /* with a NUL behind it */
    HOLDS(text);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    sent = text;
    sent_length = size - 1;
    first_seen = false;
    HOLDS(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
    struct sockaddr_in peer = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    HOLDS(MHD_add_connection(server, ends[1], (struct sockaddr *)&peer, sizeof peer) ==
          MHD_YES);
    size_t cut = data[0] < sent_length ? data[0] : sent_length;
    send_piece(ends[0], (const char *)data + 1, cut);
    send_piece(ends[0], (const char *)data + 1 + cut, sent_length - cut);
    (void)shutdown(ends[0], SHUT_WR);
    for (int i = 0; i < 5; i++)
        (void)MHD_run(server);
    close(ends[0]);
    for (int i = 0; i < 3; i++)
        (void)MHD_run(server);
    free(text);
    return 0;
}
