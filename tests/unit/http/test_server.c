/* The whole server on a real socket, with handlers that wait, stream and dawdle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "http/json_body.h"
#include "http/later.h"
#include "http/server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

static struct http_server *server;

static void sleep_ms(int ms)
{
    usleep((unsigned)ms * 1000);
}

/* ---- handlers -----------------------------------------------------------------------
 */

static void answer(struct http_request *r, const char *text)
{
    http_respond_fixed(&r->response, 200, "text/plain", text, strlen(text));
}

static void say_hello(struct http_request *r)
{
    answer(r, http_request_header(r, "X-Name") ? "hello, you" : "hello");
}

static atomic_int slow_now, slow_held;

static void be_slow(struct http_request *r)
{
    atomic_fetch_add(&slow_now, 1);
    while (atomic_load(&slow_held))
        sleep_ms(1);
    answer(r, "slow");
    atomic_fetch_sub(&slow_now, 1);
}

/* What was deferred last; one at a time. */
static _Atomic(struct http_later *) deferred;
static atomic_int resumed, seen_gone, seen_stopping, ended;

static void count_end(struct http_request *r)
{
    (void)r;
    atomic_fetch_add(&ended, 1);
}

static void resume_once(struct http_request *r)
{
    atomic_fetch_add(&resumed, 1);
    if (r->gone)
        atomic_fetch_add(&seen_gone, 1);
    else if (r->stopping)
        atomic_fetch_add(&seen_stopping, 1);
    if (r->stopping && !r->gone && http_request_query(r, "lasting"))
        (void)http_defer(r, -1, resume_once);
    answer(r, http_request_query(r, "q") ? http_request_query(r, "q") : "woken");
}

static void defer_long(struct http_request *r)
{
    http_request_on_end(r, count_end);
    atomic_store(&deferred, http_defer(r, -1, resume_once));
}

static void defer_shortly(struct http_request *r)
{
    (void)http_defer(r, 50, resume_once);
}

static void defer_again(struct http_request *r)
{
    if (atomic_fetch_add(&resumed, 1) < 3)
        (void)http_defer(r, 5, defer_again);
    else
        answer(r, "at last");
}

static void wake_at_once(struct http_request *r)
{
    struct http_later *l = http_defer(r, -1, resume_once);
    http_later_wake(l);
    http_later_wake(l);
}

static _Atomic(struct http_stream *) stream;
static atomic_int streams_closed;

static void on_closed(void *state)
{
    (void)state;
    atomic_store(&stream, NULL);
    atomic_fetch_add(&streams_closed, 1);
}

static void begin_stream(struct http_request *r)
{
    struct http_stream *s =
        http_respond_stream(r, 200, "text/event-stream", on_closed, NULL);
    http_stream_send(s, ": hello\n\n", 9);
    atomic_store(&stream, s);
}

static atomic_llong body_bytes;
static atomic_int bodies_done, slow_disk;

static int64_t max_bytes(struct http_request *r)
{
    (void)r;
    return 8 << 20;
}

static int begin_body(struct http_request *r)
{
    (void)r;
    atomic_store(&body_bytes, 0);
    return 0;
}

static int take_body(struct http_request *r, const void *bytes, size_t length)
{
    if (atomic_load(&slow_disk))
        sleep_ms(5);
    if (memchr(bytes, '!', length)) {
        http_respond_error(&r->response, 422, "invalid", "no exclamation marks");
        return ERR_INVALID;
    }
    atomic_fetch_add(&body_bytes, (long long)length);
    return 0;
}

static void done_body(struct http_request *r)
{
    (void)r;
    atomic_fetch_add(&bodies_done, 1);
}

static const struct http_body_handler body = {max_bytes, begin_body, take_body,
                                              done_body};
HTTP_JSON_BODY(json, 1000);

/* Bodies that wait for each other in their middle. */
#define CROWD        12
#define CROWD_BYTES  ((size_t)3000000)
#define CROWD_MIDDLE ((size_t)2000000)
#define SMALL_PIECE  ((size_t)64 << 10)
#define LARGE_PIECE  ((size_t)512 << 10)

struct measured {
    size_t bytes, largest;
    bool met;
};

static atomic_int crowd, in_middle, large_ones, too_large_ones;

static int begin_measured(struct http_request *r)
{
    r->state = calloc(1, sizeof(struct measured));
    return r->state ? 0 : ERR_NOMEM;
}

static int take_measured(struct http_request *r, const void *bytes, size_t length)
{
    struct measured *m = r->state;
    (void)bytes;
    sleep_ms(5); /* so that the next piece is full */
    m->bytes += length;
    m->largest = length > m->largest ? length : m->largest;
    if (m->met || m->bytes < CROWD_MIDDLE)
        return 0;
    m->met = true;
    atomic_fetch_add(&large_ones, m->largest > SMALL_PIECE);
    atomic_fetch_add(&too_large_ones, m->largest > LARGE_PIECE);
    atomic_fetch_add(&in_middle, 1);
    while (atomic_load(&in_middle) < atomic_load(&crowd))
        sleep_ms(1);
    return 0;
}

static void done_measured(struct http_request *r)
{
    free(r->state);
}

static const struct http_body_handler measured_body = {max_bytes, begin_measured,
                                                       take_measured, done_measured};

static void end_measured(struct http_request *r)
{
    const struct measured *m = r->state;
    answer(r, m->bytes == CROWD_BYTES ? "all of it" : "not all");
}

static void end_body(struct http_request *r)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld bytes", (long long)atomic_load(&body_bytes));
    struct buf b;
    buf_init(&b, 100);
    buf_str(&b, text);
    http_respond_bytes(&r->response, 200, "text/plain", &b);
}

static void end_json(struct http_request *r)
{
    json_t *object = http_json_body(r);
    if (object)
        http_respond_json(&r->response, 200, json_incref(object));
}

static atomic_int sockets_open;

static int check_socket(struct http_request *r)
{
    if (!http_request_query(r, "no"))
        return 0;
    http_respond_error(&r->response, 403, "no", "no");
    return ERR_DENIED;
}

static void *open_socket(struct http_request *r, struct http_ws *ws)
{
    const char *name = http_request_header(r, "X-Name");
    http_ws_send(ws, name ? name : "nobody", name ? strlen(name) : 6);
    atomic_fetch_add(&sockets_open, 1);
    return &sockets_open;
}

static void echo(void *state, struct http_ws *ws, const char *bytes, size_t length,
                 bool is_text)
{
    (void)state;
    (void)is_text;
    http_ws_send(ws, bytes, length);
}

static void close_socket(void *state)
{
    (void)state;
    atomic_fetch_sub(&sockets_open, 1);
}

static const struct http_ws_handler ws = {check_socket, open_socket, echo, close_socket};

static const struct http_route routes[] = {
    {"GET", "/hello", say_hello},
    {"GET", "/slow", be_slow},
    {"GET", "/defer", defer_long},
    {"GET", "/defer/short", defer_shortly},
    {"GET", "/defer/again", defer_again},
    {"GET", "/defer/at-once", wake_at_once},
    {"GET", "/stream", begin_stream},
    {"GET", "/ws", .ws = &ws},
    {"POST", "/body", end_body, .body = &body},
    {"POST", "/measured", end_measured, .body = &measured_body},
    {"POST", "/json", end_json, .body = &json},
};

static int start(void **state)
{
    (void)state;
    struct err e;
    const struct http_server_options options = {
        .host = "127.0.0.1",
        .rate_limit = "off",
        .trusted_proxies = "loopback",
        .routes = routes,
        .n_routes = sizeof routes / sizeof *routes,
    };
    resumed = seen_gone = seen_stopping = ended = streams_closed = bodies_done =
        slow_disk = 0;
    deferred = NULL;
    stream = NULL;
    return http_server_start(&server, &options, &e);
}

static int stop(void **state)
{
    (void)state;
    http_server_stop(server, 1);
    return 0;
}

/* ---- a client -----------------------------------------------------------------------
 */

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Read until `wanted` is in what came, or the end; false when neither comes in time. */
static bool hear(int fd, const char *wanted, char *heard, size_t size)
{
    size_t length = 0;
    heard[0] = '\0';
    while (length + 1 < size) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 5000) != 1)
            return false;
        ssize_t n = recv(fd, heard + length, size - 1 - length, 0);
        if (n <= 0)
            return !wanted;
        length += (size_t)n;
        heard[length] = '\0';
        if (wanted && strstr(heard, wanted))
            return true;
    }
    return false;
}

static void expect(int fd, const char *wanted)
{
    char heard[8192];
    if (!hear(fd, wanted, heard, sizeof heard))
        fail_msg("\"%s\" did not come, but \"%s\"", wanted, heard);
}

/* Ask one thing on a connection of its own. */
static void ask(const char *request, const char *wanted)
{
    int fd = dial();
    say(fd, request);
    expect(fd, wanted);
    close(fd);
}

/* With NULs in it; nothing wanted: the server closes without a word. */
static void ask_bytes(const char *request, size_t length, const char *wanted)
{
    int fd = dial();
    assert_int_equal(send(fd, request, length, 0), length);
    char heard[8192];
    if (wanted) {
        expect(fd, wanted);
    } else {
        assert_true(hear(fd, NULL, heard, sizeof heard));
        assert_string_equal(heard, "");
    }
    close(fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void wait_until(const atomic_int *value, int wanted)
{
    for (int i = 0; i < 5000 && atomic_load(value) != wanted; i++)
        sleep_ms(1);
    assert_int_equal(atomic_load(value), wanted);
}

/* ---- the tests ----------------------------------------------------------------------
 */

static void answers_one_after_the_other(void **state)
{
    (void)state;
    int fd = dial();
    for (int i = 0; i < 100; i++) {
        say(fd, GET("/hello"));
        expect(fd, "\r\n\r\nhello");
    }
    say(fd, "GET /hello HTTP/1.1\r\nHost: a\r\nx-name: me\r\n\r\n");
    expect(fd, "hello, you");
    say(fd, GET("/nothing"));
    expect(fd, "not_found");
    say(fd, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    expect(fd, "405 ");
    say(fd, GET("/hello"));
    expect(fd, "\r\n\r\nhello");
    /* Two at once: the second waits in the first one's wake. */
    say(fd, GET("/hello") GET("/nothing"));
    expect(fd, "not_found");
    close(fd);
}

static void waits_without_a_thread(void **state)
{
    (void)state;
    enum { MANY = 300 }; /* more than there are threads */
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = dial();
        say(fds[i], GET("/defer"));
    }
    sleep_ms(200);
    ask(GET("/hello"), "hello");
    ask(GET("/defer/short?q=late"), "late");
    ask(GET("/defer/at-once"), "woken");
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    wait_until(&seen_gone, MANY);
    wait_until(&ended, MANY);
    resumed = 0;
    ask(GET("/defer/again"), "at last");
    assert_int_equal(resumed, 4);
}

static void is_woken_from_elsewhere(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        atomic_store(&deferred, NULL);
        int fd = dial();
        say(fd, GET("/defer"));
        struct http_later *l;
        while (!(l = atomic_load(&deferred)))
            ;
        http_later_wake(l); /* often before the handler has returned */
        expect(fd, "woken");
        close(fd);
    }
    assert_int_equal(seen_gone, 0);
}

static void streams(void **state)
{
    (void)state;
    int fd = dial();
    say(fd, GET("/stream"));
    expect(fd, ": hello");
    struct http_stream *s = atomic_load(&stream);
    assert_non_null(s);
    for (int i = 0; i < 20; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "data: %d\n\n", i);
        http_stream_send(s, text, strlen(text));
        expect(fd, text);
    }
    http_stream_end(s);
    expect(fd, "0\r\n\r\n");
    wait_until(&streams_closed, 1);
    /* The connection serves on. */
    say(fd, GET("/hello"));
    expect(fd, "\r\n\r\nhello");
    close(fd);
    ask("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n", "event-stream");
    wait_until(&streams_closed, 2);
    fd = dial();
    say(fd, "GET /stream HTTP/1.0\r\n\r\n");
    expect(fd, ": hello");
    http_stream_send(atomic_load(&stream), "more", 4);
    expect(fd, "more");
    http_stream_end(atomic_load(&stream));
    char heard[100];
    assert_true(hear(fd, NULL, heard, sizeof heard));
    close(fd);
    wait_until(&streams_closed, 3);
}

static void drops_streams_that_nobody_reads(void **state)
{
    (void)state;
    int gone = dial(), slow = dial();
    say(gone, GET("/stream"));
    expect(gone, ": hello");
    close(gone);
    wait_until(&streams_closed, 1);
    say(slow, GET("/stream"));
    while (!atomic_load(&stream))
        sleep_ms(1);
    static char much[100000];
    memset(much, 'x', sizeof much);
    int64_t begun = clock_monotonic_ns();
    for (int i = 0; i < 1000 && atomic_load(&streams_closed) < 2; i++) {
        struct http_stream *s = atomic_load(&stream);
        if (s)
            http_stream_send(s, much, sizeof much);
        sleep_ms(1);
    }
    wait_until(&streams_closed, 2);
    assert_true(clock_monotonic_ns() - begun < 4000000000);
    close(slow);
}

static void post(int fd, const char *path, size_t length, char c)
{
    char head[200];
    (void)snprintf(head, sizeof head,
                   "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", path,
                   length);
    say(fd, head);
    char piece[100000];
    memset(piece, c, sizeof piece);
    while (length > 0) {
        size_t n = length < sizeof piece ? length : sizeof piece;
        ssize_t sent = send(fd, piece, n, MSG_NOSIGNAL);
        if (sent < 0)
            return; /* refused: the answer is there to be read */
        length -= (size_t)sent;
    }
}

/* Of libmicrohttpd: strict, it refuses more than we are asked about. */
static bool is_version_1(void)
{
    return strncmp(MHD_get_version(), "0.", 2) != 0;
}

static void takes_bodies(void **state)
{
    (void)state;
    int fd = dial();
    post(fd, "/body", 5000000, 'a');
    expect(fd, "5000000 bytes");
    post(fd, "/body", 1, 'a');
    expect(fd, "\r\n\r\n1 bytes");
    slow_disk = 1;
    post(fd, "/body", 5000000, 'a');
    expect(fd, "5000000 bytes");
    /* 1.0 knows no extensions: the LF counts as a byte of the chunk. */
    say(fd, is_version_1()
                ? "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                : "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
    expect(fd, "\r\n\r\n5 bytes");
    close(fd);
    wait_until(&bodies_done, 4);
    fd = dial();
    say(fd, "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n");
    expect(fd, "no trailers");
    close(fd);
    wait_until(&bodies_done, 5);
    fd = dial();
    post(fd, "/body", 3000000, '!');
    expect(fd, "exclamation");
    close(fd);
    fd = dial();
    post(fd, "/body", 9000000, 'a');
    expect(fd, "too_large");
    close(fd);
    /* A client that goes in the middle. */
    fd = dial();
    say(fd, "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    close(fd);
    wait_until(&bodies_done, 7); /* the one that was too large never began */
}

static void *bring_one(void *arg)
{
    (void)arg;
    int fd = dial();
    post(fd, "/measured", CROWD_BYTES, 'a');
    expect(fd, "all of it");
    close(fd);
    return NULL;
}

static void bring(int count)
{
    pthread_t threads[CROWD];
    atomic_store(&crowd, count);
    atomic_store(&in_middle, 0);
    atomic_store(&large_ones, 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bring_one, NULL), 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(too_large_ones, 0);
}

/* Large pieces are for few at once, and for the next ones when those have gone. */
static void gives_large_pieces_to_few(void **state)
{
    (void)state;
    bring(CROWD);
    assert_in_range(large_ones, 1, 8);
    for (int i = 0; i < CROWD; i++) {
        bring(1);
        assert_int_equal(large_ones, 1);
    }
}

static void takes_json(void **state)
{
    (void)state;
    ask("POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json; x=y\r\n"
        "Content-Length: 9\r\n\r\n{\"a\": 12}",
        "{\"a\":12}");
    ask("POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Content-Length: 3\r\n\r\n{\"a",
        "400 ");
    ask("POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", "415 ");
    ask("POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n",
        "empty");
    ask("POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Content-Length: 1001\r\n\r\n",
        "413 ");
}

static void refuses_heads_that_say_two_things(void **state)
{
    (void)state;
    ask("GET /hello HTTP/1.1\r\nHost: a\n\r\n", "400 ");
    ask("GET /hello HTTP/1.1\nHost: a\r\n\r\n", "400 ");
    ask("GET /hello HTTP/1.1\r\nHost: a\r\n\n", "400 ");
    ask("GET /hello HTTP/1.1\r\nX: y\nHost: a\r\n\r\n", "400 ");
    ask("GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", "400 ");
    ask("GET /hello HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", "400 ");
    ask("GET /hello HTTP/1.1\r\nHost: a\r\nX: y\rZ: 1\r\n\r\n", "400 ");
    ask("GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 ");
    ask("GET /hello HTTP/1.1\r\n\r\n", is_version_1() ? "Host" : "no Host");
    ask("GET /hello you HTTP/1.1\r\nHost: a\r\n\r\n", "space");
    ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400 ");
    ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
        "Content-Length: 1\r\n\r\na",
        "400 ");
    ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", "400 ");
    ask("GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n", "400 ");
    /* A NUL ends our own literals. */
    static const char nul[] = "GET /hello HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n";
    ask_bytes(nul, sizeof nul - 1, "400 ");
    static const char path[] = "GET /hello\0z HTTP/1.1\r\nHost: a\r\n\r\n";
    ask_bytes(path, sizeof path - 1, is_version_1() ? NULL : "400 ");
    static const char method[] = "GET\0 /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    ask_bytes(method, sizeof method - 1, is_version_1() ? NULL : "400 ");
    /* And one of the right form, with everything that is allowed in it. */
    ask("GET /hello?a=b&c HTTP/1.1\r\nHost:a\r\nCookie: a=b; c=d\r\nEmpty:\r\n"
        "X:  two spaces \r\n\r\n",
        "\r\n\r\nhello");
    ask("GET /hello HTTP/1.0\r\n\r\n", "\r\n\r\nhello");
}

/* Heads of all lengths around what the library has at first for one, each with a body in
 * the same packet, which it may move. */
static void takes_long_heads_with_bodies(void **state)
{
    (void)state;
    for (size_t length = 14300; length <= 16200; length += 37) {
        struct buf b;
        buf_init(&b, 1 << 20);
        buf_str(&b, "POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                    "Transfer-Encoding: chunked\r\nX: ");
        while (b.length < length)
            buf_char(&b, 'x');
        buf_str(&b, "\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n");
        ask(buf_cstr(&b), "\r\n\r\n5 bytes");
        buf_release(&b);
    }
}

static void limits_heads(void **state)
{
    (void)state;
    struct buf many, long_one;
    buf_init(&many, 1 << 20);
    buf_init(&long_one, 1 << 20);
    buf_str(&many, "GET /hello HTTP/1.1\r\nHost: a\r\n");
    buf_str(&long_one, "GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
    for (int i = 0; i < 100; i++)
        buf_printf(&many, "X-%d: y\r\n", i);
    for (int i = 0; i < 17000; i++)
        buf_char(&long_one, 'x');
    buf_str(&many, "\r\n");
    buf_str(&long_one, "\r\n\r\n");
    ask(buf_cstr(&many), "431 ");
    ask(buf_cstr(&long_one), "431 ");
    buf_release(&many);
    buf_release(&long_one);
}

/* More than the threads and the line hold: the rest is told so at once. */
static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 5) > 0;
}

static void turns_away_what_is_too_much(void **state)
{
    (void)state;
    enum { MANY = 400, MORE = 100, THREADS = 64 };
    int fds[MANY + MORE], count = 0, refused = 0, served = 0;
    atomic_store(&slow_held, 1);
    while (count < MANY)
        say(fds[count++] = dial(), GET("/slow"));
    /* All threads have one each; then the line is filled up, until one is refused. */
    wait_until(&slow_now, THREADS);
    do
        say(fds[count++] = dial(), GET("/slow"));
    while (!is_readable(fds[count - 1]) && count < MANY + MORE);
    assert_true(is_readable(fds[count - 1]));
    ask(GET("/hello"), "503 "); /* while nobody gets on */
    atomic_store(&slow_held, 0);
    for (int i = 0; i < count; i++) {
        char heard[2000];
        assert_true(hear(fds[i], "\r\n\r\n", heard, sizeof heard));
        served += strstr(heard, "200 OK") != NULL;
        refused += strstr(heard, "503 ") && strstr(heard, "Retry-After: ");
        close(fds[i]);
    }
    assert_int_equal(served + refused, count);
    assert_true(served >= 256 + THREADS);
    assert_true(refused > 0);
    ask(GET("/hello"), "hello");
}

#define HANDSHAKE                                                                        \
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"       \
    "X-Name: me\r\nSec-WebSocket-Version: 13\r\n"                                        \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static void keeps_many_sockets_open(void **state)
{
    (void)state;
    enum { MANY = 200 };
    /* "ping" in a text frame, masked with zeros. */
    static const char ping[] = "\x81\x84\0\0\0\0ping";
    int fds[MANY];
    ask(GET("/ws"), "426 ");
    ask("GET /ws?no=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: "
        "Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "403 ");
    for (int i = 0; i < MANY; i++) {
        fds[i] = dial();
        say(fds[i], HANDSHAKE);
    }
    for (int i = 0; i < MANY; i++)
        expect(fds[i], "\x81\x02me");
    wait_until(&sockets_open, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(send(fds[i], ping, sizeof ping - 1, 0), sizeof ping - 1);
    for (int i = 0; i < MANY; i++)
        expect(fds[i], "\x81\x04ping");
    /* With the handshake itself. */
    int fd = dial();
    char both[1000];
    memcpy(both, HANDSHAKE, sizeof HANDSHAKE - 1);
    memcpy(both + sizeof HANDSHAKE - 1, ping, sizeof ping - 1);
    size_t length = sizeof HANDSHAKE + sizeof ping - 2;
    assert_int_equal(send(fd, both, length, 0), length);
    expect(fd, "ping");
    close(fd);
    for (int i = 0; i < MANY / 2; i++)
        close(fds[i]);
    wait_until(&sockets_open, MANY - MANY / 2);
    http_server_stop(server, 5);
    server = NULL;
    assert_int_equal(sockets_open, 0);
    for (int i = MANY / 2; i < MANY; i++)
        close(fds[i]);
}

/* Streams end in good order, what waits is cut off, nobody hangs. */
static void stops(void **state)
{
    (void)state;
    int a = dial(), b = dial(), c = dial(), d = dial(), lasting = dial();
    say(lasting, GET("/defer?lasting=1"));
    while (!atomic_load(&deferred))
        sleep_ms(1);
    atomic_store(&deferred, NULL);
    say(a, GET("/stream"));
    expect(a, ": hello");
    say(b, GET("/defer"));
    say(c, "GET /hel");
    say(d, "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    while (!atomic_load(&deferred))
        sleep_ms(1);
    sleep_ms(50);
    int64_t begun = clock_monotonic_ns();
    http_server_stop(server, 1);
    assert_true(clock_monotonic_ns() - begun < 3000000000);
    server = NULL;
    char heard[1000];
    assert_true(hear(a, NULL, heard, sizeof heard));
    assert_non_null(strstr(heard, "0\r\n\r\n"));
    assert_int_equal(streams_closed, 1);
    /* Who waits is told so, once; who waits on nevertheless is cut off. */
    assert_true(hear(b, NULL, heard, sizeof heard));
    assert_non_null(strstr(heard, "woken"));
    assert_int_equal(seen_stopping, 2);
    assert_int_equal(resumed, 3);
    assert_int_equal(seen_gone, 1);
    assert_int_equal(ended, 2);
    assert_int_equal(bodies_done, 1);
    close(lasting);
    close(a);
    close(b);
    close(c);
    close(d);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(answers_one_after_the_other),
        TEST(waits_without_a_thread),
        TEST(is_woken_from_elsewhere),
        TEST(streams),
        TEST(drops_streams_that_nobody_reads),
        TEST(takes_bodies),
        TEST(gives_large_pieces_to_few),
        TEST(takes_json),
        TEST(refuses_heads_that_say_two_things),
        TEST(takes_long_heads_with_bodies),
        TEST(limits_heads),
        TEST(turns_away_what_is_too_much),
        TEST(keeps_many_sockets_open),
        TEST(stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
