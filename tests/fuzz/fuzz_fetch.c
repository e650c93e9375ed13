/* A server that we were told to fetch from: an input is all that it answers, on this
 * machine and over a real connection. Its first byte says what is asked for.
 *
 * What comes out of the answer is within bounds, and a body is handed over for 200 and
 * 206 alone. Redirects are not followed here: they would lead out of the test. */
#include "fuzz.h"

#include "net/fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener = -1;
static char url[80], allow[32];
static struct net_guard *guard;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t answer[8192]; /* under lock, as is its size */
static size_t answer_size;

static size_t take_answer(uint8_t *out)
{
    pthread_mutex_lock(&lock);
    size_t size = answer_size;
    memcpy(out, answer, size);
    pthread_mutex_unlock(&lock);
    return size;
}

static void set_answer(const uint8_t *bytes, size_t size)
{
    pthread_mutex_lock(&lock);
    answer_size = size < sizeof answer ? size : sizeof answer;
    if (answer_size)
        memcpy(answer, bytes, answer_size);
    pthread_mutex_unlock(&lock);
}

/* One connection at a time. The client may have gone before its end. */
static void *serve(void *arg)
{
    char request[4096];
    uint8_t own[sizeof answer];
    int fd;
    (void)arg;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        (void)!recv(fd, request, sizeof request, 0);
        (void)!send(fd, own, take_answer(own), MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        while (recv(fd, request, sizeof request, 0) > 0)
            ;
        close(fd);
    }
    return NULL;
}

static void prepare(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    pthread_t thread;
    struct err e;
    if (guard)
        return;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    HOLDS(listener >= 0 && !bind(listener, (struct sockaddr *)&at, sizeof at) &&
          !listen(listener, 64) &&
          !getsockname(listener, (struct sockaddr *)&at, &length));
    (void)snprintf(allow, sizeof allow, "127.0.0.1:%d", ntohs(at.sin_port));
    (void)snprintf(url, sizeof url, "http://%s/a", allow);
    HOLDS(!net_guard_new(&guard, allow, &e));
    HOLDS(!pthread_create(&thread, NULL, serve, NULL));
}

static int on_begin(void *arg, const struct net_answer *a, struct err *e)
{
    long *status = arg;
    (void)e;
    *status = a->status;
    HOLDS(a->status == 200 || a->status == 206);
    return 0;
}

static int on_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    const long *status = arg;
    HOLDS(bytes && length && *status);
    (void)e;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_answer a;
    struct err e = {0};
    long begun = 0;
    if (size < 1)
        return 0;
    prepare();
    set_answer(data + 1, size - 1);
    const struct net_request r = {.guard = guard,
                                  .url = url,
                                  .body = data[0] & 1 ? "{}" : NULL,
                                  .body_length = 2,
                                  .stall_seconds = 5,
                                  .total_seconds = 5,
                                  .from = data[0] & 2 ? 100 : 0,
                                  .validator = "\"a\"",
                                  .begin = on_begin,
                                  .data = on_data,
                                  .arg = &begun};
    int status = net_fetch(&r, &a, &e);
    HOLDS(!status || (e.code == status && e.message[0]));
    HOLDS(a.length >= -1 && a.range_start >= -1);
    HOLDS(a.retry_after_seconds >= 0 && a.retry_after_seconds <= NET_RETRY_AFTER_MAX);
    HOLDS(strlen(a.validator) < sizeof a.validator && !strpbrk(a.validator, "\r\n"));
    return 0;
}
