#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "http/admit.h"
#include "http/watch.h"
#include "http/ws.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static void proves_that_it_read_the_key(void **state)
{
    (void)state;
    char out[HTTP_WS_ACCEPT_SIZE];
    /* The example of RFC 6455, 1.3. */
    assert_true(http_ws_accept("dGhlIHNhbXBsZSBub25jZQ==", out));
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(http_ws_accept("", out));
    assert_false(http_ws_accept("dGhlIHNhbXBsZSBub25jZQ=", out));
    assert_false(http_ws_accept("dGhlIHNhbXBsZSBub25jZ===", out));
    assert_false(http_ws_accept("dGhlIHNhbXBsZSBub25j\nQ==", out));
}

static void knows_its_own_pages(void **state)
{
    (void)state;
    assert_true(http_same_origin("http://localhost:8000", "localhost:8000"));
    assert_true(http_same_origin("https://Example.org", "example.org"));
    assert_false(http_same_origin("http://localhost:8001", "localhost:8000"));
    assert_false(http_same_origin("http://localhost:8000.evil.org", "localhost:8000"));
    assert_false(http_same_origin("null", "null"));
    assert_false(http_same_origin("http://", NULL));
}

static void knows_ids_fit_for_logs(void **state)
{
    (void)state;
    assert_true(http_request_id_valid("abc-1_2.3"));
    assert_false(http_request_id_valid(""));
    assert_false(http_request_id_valid("a b"));
    assert_false(http_request_id_valid("a\"b"));
    char id[66];
    memset(id, 'a', 65);
    id[65] = '\0';
    assert_false(http_request_id_valid(id));
    assert_true(http_request_id_valid(id + 1));
}

/* Whether the other end of the pair sees the end of the stream. */
static bool was_shut_down(int other)
{
    char byte;
    return recv(other, &byte, 1, MSG_DONTWAIT) == 0;
}

static void shuts_down_who_dawdles(void **state)
{
    (void)state;
    int a[2], b[2], c[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, c), 0);
    struct http_watch *w = http_watch_new();
    assert_non_null(w);
    struct http_watched *head = http_watch_add(w, a[0]);
    struct http_watched *body = http_watch_add(w, b[0]);
    struct http_watched *work = http_watch_add(w, c[0]);
    http_watch_phase(w, body, HTTP_PHASE_BODY);
    http_watch_phase(w, work, HTTP_PHASE_WORK);
    double now = clock_monotonic_seconds();
    assert_int_equal(http_watch_sweep(w, now + HTTP_WATCH_HEAD_SECONDS - 2), 0);
    http_watch_bytes(w, body, HTTP_WATCH_BODY_BYTES);
    assert_int_equal(http_watch_sweep(w, now + HTTP_WATCH_HEAD_SECONDS + 2), 1);
    assert_true(was_shut_down(a[1]));
    assert_int_equal(http_watch_sweep(w, now + HTTP_WATCH_BODY_SECONDS + 2), 0);
    assert_false(was_shut_down(b[1]));
    http_watch_bytes(w, body, HTTP_WATCH_BODY_BYTES - 1);
    assert_int_equal(http_watch_sweep(w, now + 3 * HTTP_WATCH_BODY_SECONDS), 1);
    assert_true(was_shut_down(b[1]));
    assert_int_equal(http_watch_sweep(w, now + 1e6), 0);
    assert_false(was_shut_down(c[1]));
    /* Who was refused has been told; it is not counted as slow. */
    http_watch_phase(w, work, HTTP_PHASE_DRAIN);
    assert_int_equal(http_watch_sweep(w, now + HTTP_WATCH_DRAIN_SECONDS + 2), 0);
    assert_true(was_shut_down(c[1]));
    http_watch_remove(w, body);
    http_watch_remove(w, head);
    http_watch_remove(w, NULL);
    http_watch_free(w);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
        close(c[i]);
    }
}

/* A connection over TCP whose reader takes little at once. */
static void make_tcp(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int small = 4096;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&address, &size);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(pair[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(pair[1], (struct sockaddr *)&address, sizeof address), 0);
    pair[0] = accept(listener, NULL, NULL);
    assert_true(pair[0] >= 0);
    close(listener);
}

static void fill(int fd)
{
    static const char block[65536];
    while (send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
}

/* Read so much, at once or over a while; less when there is no more. */
static size_t drain(int fd, size_t most)
{
    static char block[65536];
    size_t total = 0;
    for (int quiet = 0; total < most && quiet < 50;) {
        size_t want = most - total < sizeof block ? most - total : sizeof block;
        ssize_t n = recv(fd, block, want, MSG_DONTWAIT);
        quiet = n > 0 ? 0 : quiet + 1;
        total += n > 0 ? (size_t)n : 0;
        if (n <= 0)
            usleep(2000);
    }
    return total;
}

static void shuts_down_who_reads_slowly(void **state)
{
    (void)state;
    int slow[2], fair[2], idle[2];
    make_tcp(slow);
    make_tcp(fair);
    make_tcp(idle);
    struct http_watch *w = http_watch_new();
    struct http_watched *watched[] = {http_watch_add(w, slow[0]),
                                      http_watch_add(w, fair[0]),
                                      http_watch_add(w, idle[0])};
    for (int i = 0; i < 3; i++)
        http_watch_phase(w, watched[i], HTTP_PHASE_ANSWER);
    fill(slow[0]);
    fill(fair[0]);
    double now = clock_monotonic_seconds();
    assert_int_equal(http_watch_sweep(w, now), 0);
    for (int i = 1; i < HTTP_WATCH_ANSWER_SECONDS; i++) {
        assert_int_equal(drain(slow[1], 1), 1);
        fill(fair[0]);
        /* Little enough to show that it is not all that was sent. */
        if (i % 20 == 0)
            assert_true(drain(fair[1], 2 * HTTP_WATCH_ANSWER_BYTES) > 0);
        assert_int_equal(http_watch_sweep(w, now + i), 0);
    }
    assert_int_equal(http_watch_sweep(w, now + HTTP_WATCH_ANSWER_SECONDS + 1), 1);
    http_watch_remove(w, watched[0]);
    close(slow[0]); /* as the library does */
    char byte;
    while (recv(slow[1], &byte, 1, 0) > 0)
        ;
    assert_int_equal(errno, ECONNRESET);
    /* Who has nothing to read may wait for ever. */
    http_watch_remove(w, watched[1]);
    assert_int_equal(http_watch_sweep(w, now + 1e6), 0);
    assert_false(was_shut_down(idle[1]));
    http_watch_remove(w, watched[2]);
    http_watch_free(w);
    int rest[] = {slow[1], fair[0], fair[1], idle[0], idle[1]};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
        close(rest[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proves_that_it_read_the_key),
        cmocka_unit_test(knows_its_own_pages),
        cmocka_unit_test(knows_ids_fit_for_logs),
        cmocka_unit_test(shuts_down_who_dawdles),
        cmocka_unit_test(shuts_down_who_reads_slowly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
