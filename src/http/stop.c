/* How a server stops so that nobody notices: not who is being answered, not a proxy that
 * has just sent a request our way.
 *
 * First the door. A connection that the kernel has taken for us and that we never accept
 * is reset when the door closes, with the request that its sender thinks has arrived; and
 * a proxy does not send such a request again if it may have had an effect. So for a
 * moment the kernel drops requests for connections (whoever asks comes again after a
 * second, and is refused, which a proxy takes for what it is) while we accept what it had
 * taken. Then everybody who is in is answered, and told that the connection ends with the
 * answer. */
#include "base/clock.h"
#include "base/log.h"
#include "http/exchange.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#define LAST_SECONDS  3 /* of the time to stop: for who waits to be told to come again */
#define DOOR_LEAST_MS 100 /* for a handshake that is under way */
#define DOOR_MOST_MS  1000
#define FRESH_SECONDS 1.0 /* a request follows its connection sooner, or not at all */
#define STEP_MS       10

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* From now on the kernel drops what asks for a connection: the flag SYN without ACK, in
 * the fourteenth byte of the header. */
static void refuse_handshakes(int fd)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xFFFFFFFF),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
        log_debug("http: no filter on the door: %s", strerror(errno));
}

/* Connections that the kernel has and we have not; 0 also where it does not say. */
static unsigned not_accepted(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) ? 0 : info.tcpi_unacked;
}

/* A door that the service manager holds stays open: who comes from now on waits in it for
 * whoever is started next, and is refused by nobody. */
static void close_door(struct http_server *s)
{
    if (s->given) {
        (void)MHD_quiesce_daemon(s->daemon);
        return;
    }
    refuse_handshakes(s->listen_fd);
    for (int ms = 0;
         ms < DOOR_LEAST_MS || (ms < DOOR_MOST_MS && not_accepted(s->listen_fd));
         ms += STEP_MS)
        pause_ms(STEP_MS);
    (void)MHD_quiesce_daemon(s->daemon);
    /* Closed later: a thread of the library may just be about to accept from it. */
    (void)shutdown(s->listen_fd, SHUT_RDWR);
}

void http_server_leave(struct http_server *s, int delay_seconds)
{
    if (atomic_exchange(&s->leaving, true))
        return;
    pause_ms(1000L * delay_seconds);
    close_door(s);
}

/* Returns how many requests are left. `seconds` below 0: wait until there are none. */
static int wait_until_idle(struct http_server *s, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at = until.tv_nsec + (int64_t)(seconds * 1e9);
    until.tv_sec += at / 1000000000;
    until.tv_nsec = at % 1000000000;
    int late = 0;
    pthread_mutex_lock(&s->lock);
    while (s->active > 0 && late != ETIMEDOUT)
        late = seconds < 0 ? pthread_cond_wait(&s->idle, &s->lock)
                           : pthread_cond_timedwait(&s->idle, &s->lock, &until);
    int left = s->active;
    pthread_mutex_unlock(&s->lock);
    return left;
}

/* Whether nobody is being answered; if so, nobody will be. */
static bool end_if_idle(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = s->active == 0;
    bool idle = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

/* Until all are answered, those included who have only just come in. Where the door stays
 * open, nobody is to notice at all: who has just been answered, and was not told that the
 * connection ends, may be asking again at this moment. False when the time is up before.
 */
static bool end_in_time(struct http_server *s, double seconds)
{
    double end = clock_monotonic_seconds() + seconds, now;
    while ((now = clock_monotonic_seconds()) < end) {
        if (wait_until_idle(s, end - now))
            return false;
        if (!http_watch_fresh(s->watch, now - FRESH_SECONDS, s->given) && end_if_idle(s))
            return true;
        pause_ms(STEP_MS);
    }
    return end_if_idle(s);
}

static void cut_off(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    int left = s->active;
    pthread_mutex_unlock(&s->lock);
    log_warning("%d request%s cut off", left, left == 1 ? "" : "s");
    http_waiter_end(s->waiter, HTTP_WAIT_CUT_OFF);
    http_watch_cut_off(s->watch);
    http_ws_loop_stop(s->ws);
    (void)wait_until_idle(s, -1); /* a handler that is at work is never torn away */
}

void http_server_stop(struct http_server *s, int grace_seconds)
{
    if (!s)
        return;
    http_server_leave(s, 0);
    http_ws_loop_leave(s->ws);
    http_waiter_end(s->waiter, HTTP_WAIT_STOPPING);
    int last = grace_seconds < LAST_SECONDS ? grace_seconds : LAST_SECONDS;
    bool ended = end_in_time(s, grace_seconds - last);
    if (!ended) {
        http_waiter_end(s->waiter, HTTP_WAIT_LAST);
        ended = end_in_time(s, last);
    }
    if (!ended)
        cut_off(s);
    http_ws_loop_stop(s->ws);
    MHD_stop_daemon(s->daemon);
    http_server_free(s);
}
