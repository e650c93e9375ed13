/* What crosses the socket: whole, strict, with files; and what a hostile worker may try.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/protocol.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID "0190b5d0-aaaa-7bbb-8ccc-0123456789ab"

static int ends[2];

static int set_up(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
    (void)state;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void a_job_arrives_as_it_was_sent(void **state)
{
    (void)state;
    int before = count_fds();
    char body[] = "{\"prompt\":\"Grüße\"}";
    struct message m = {.type = MESSAGE_JOB,
                        .job_id = ID,
                        .attempt = 7,
                        .model = "tiny",
                        .path = "/models/ggml-tiny.bin",
                        .serial = INT64_C(1) << 40,
                        .task = "translate",
                        .threads = 3,
                        .attached = ATTACHED_MODEL,
                        .max_seconds = 0.1,
                        .vad = "/models/detector.onnx",
                        .compute_type = "f32",
                        .scratch = "/scratch",
                        .known_language = "en",
                        .language = "de",
                        .probability = 1.0 / 3,
                        .next_frame = 123456789012,
                        .body = body,
                        .body_length = strlen(body),
                        .n_fds = 2};
    m.fds[0] = open("/dev/null", O_RDONLY);
    m.fds[1] = open("/dev/zero", O_RDONLY);
    struct message r;
    assert_int_equal(message_send(ends[0], &m, true, NULL), 0);
    assert_int_equal(message_receive(ends[1], &r, true, NULL), 1);
    assert_int_equal(r.type, MESSAGE_JOB);
    assert_string_equal(r.job_id, ID);
    assert_int_equal(r.attempt, 7);
    assert_string_equal(r.model, "tiny");
    assert_string_equal(r.path, "/models/ggml-tiny.bin");
    assert_true(r.serial == INT64_C(1) << 40);
    assert_string_equal(r.task, "translate");
    assert_int_equal(r.threads, 3);
    assert_int_equal(r.attached, ATTACHED_MODEL);
    assert_true(r.max_seconds == 0.1);
    assert_string_equal(r.language, "de");
    assert_string_equal(r.known_language, "en");
    assert_true(r.probability == 1.0 / 3); /* to the last bit */
    assert_true(r.next_frame == 123456789012);
    assert_string_equal(r.formats, "");
    assert_string_equal(r.vad, "/models/detector.onnx");
    assert_string_equal(r.compute_type, "f32");
    assert_string_equal(r.body, body);
    assert_int_equal(r.n_fds, 2);
    char zero = 1;
    assert_int_equal(read(r.fds[1], &zero, 1), 1);
    assert_int_equal(zero, 0);
    assert_true(fcntl(r.fds[0], F_GETFD) & FD_CLOEXEC);
    message_release(&r);
    close(m.fds[0]);
    close(m.fds[1]);
    assert_int_equal(count_fds(), before);
}

static void nothing_and_the_end_are_told_apart(void **state)
{
    (void)state;
    struct message r;
    assert_int_equal(message_receive(ends[1], &r, false, NULL), 0);
    struct message m = {.type = MESSAGE_READY};
    assert_int_equal(message_send(ends[0], &m, false, NULL), 0);
    close(ends[0]);
    assert_int_equal(message_receive(ends[1], &r, false, NULL), 1);
    message_release(&r);
    assert_int_equal(message_receive(ends[1], &r, false, NULL), ERR_NETWORK);
    assert_int_equal(message_send(ends[1], &m, false, NULL), ERR_NETWORK);
    ends[0] = dup(ends[1]);
}

static void a_side_that_does_not_read_holds_nobody_up(void **state)
{
    (void)state;
    struct message m = {.type = MESSAGE_READY};
    int status = 0;
    for (int i = 0; i < 100000 && !status; i++)
        status = message_send(ends[0], &m, false, NULL);
    assert_int_equal(status, ERR_TIMEOUT);
}

static void what_is_too_large_is_not_sent(void **state)
{
    (void)state;
    char *body = calloc(1, MESSAGE_MAX_BYTES + 1);
    memset(body, 'x', MESSAGE_MAX_BYTES);
    struct message m = {.type = MESSAGE_WINDOW,
                        .job_id = ID,
                        .body = body,
                        .body_length = MESSAGE_MAX_BYTES};
    assert_int_equal(message_send(ends[0], &m, false, NULL), ERR_TOO_LARGE);
    m.body_length = MESSAGE_MAX_BYTES - 1000; /* but this is, and arrives */
    struct message r;
    assert_int_equal(message_send(ends[0], &m, false, NULL), 0);
    assert_int_equal(message_receive(ends[1], &r, false, NULL), 1);
    assert_int_equal(r.body_length, MESSAGE_MAX_BYTES - 1000);
    message_release(&r);
    free(body);
}

/* Header text, and whether it is a message. The NUL behind it is sent too. */
static const struct {
    const char *header;
    bool good;
} headers[] = {
    {"{\"type\":\"ready\"}", true},
    {"{\"type\":\"cancel\",\"job\":\"" ID "\",\"attempt\":1}", true},
    {"{\"type\":\"decoded\",\"job\":\"" ID "\",\"attempt\":1,\"seconds\":3}", true},
    {"", false},
    {"[]", false},
    {"null", false},
    {"{}", false},
    {"{\"type\":\"ready\"", false},
    {"{\"type\":\"ready\"} x", false},
    {"{\"type\":\"ready\",\"type\":\"ready\"}", false},
    {"{\"type\":\"ready\",\"more\":1}", false},
    {"{\"type\":\"nonsense\"}", false},
    {"{\"type\":7}", false},
    {"{\"type\":\"cancel\",\"job\":\"" ID "\"}", false},
    {"{\"type\":\"cancel\",\"job\":\"../../etc/passwd\",\"attempt\":1}", false},
    {"{\"type\":\"cancel\",\"job\":\"" ID "\",\"attempt\":1.5}", false},
    {"{\"type\":\"cancel\",\"job\":\"" ID "\",\"attempt\":\"1\"}", false},
    {"{\"type\":\"cancel\",\"job\":\"" ID "\",\"attempt\":2147483648}", false},
    {"{\"type\":\"cancel\",\"job\":\"" ID "\",\"attempt\":99999999999999999999}", false},
    {"{\"type\":\"cancel\",\"job\":null,\"attempt\":1}", false},
    {"{\"type\":\"decoded\",\"job\":\"" ID "\",\"attempt\":1,\"seconds\":-1}", false},
    {"{\"type\":\"decoded\",\"job\":\"" ID "\",\"attempt\":1,\"seconds\":1e999}", false},
    {"{\"type\":\"decoded\",\"job\":\"" ID "\",\"attempt\":1,\"seconds\":NaN}", false},
    {"{\"type\":\"failed\",\"job\":\"" ID
     "\",\"attempt\":1,\"code\":-3,\"text\":\"\xFF\"}",
     false},
    {"{\"type\":\"failed\",\"job\":\"" ID
     "\",\"attempt\":1,\"code\":-3,\"text\":\"a\\u0000b\"}",
     false},
    {"{\"type\":\"window\",\"job\":\"" ID "\",\"attempt\":1,\"language\":\"en\","
     "\"probability\":1,\"next_frame\":-1,\"total_frames\":5}",
     false},
    {"{\"type\":\"window\",\"job\":\"" ID "\",\"attempt\":1,\"language\":"
     "\"a language code that is much too long\",\"probability\":1,\"next_frame\":1,"
     "\"total_frames\":5}",
     false},
};

static void hostile_headers_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct message m;
        struct err e;
        const char *header = headers[i].header;
        int status = message_parse(&m, header, strlen(header) + 1, &e);
        if (status != (headers[i].good ? 0 : ERR_CORRUPT))
            fail_msg("%s gives %d", header, status);
        message_release(&m);
    }
}

static void every_cut_and_every_flipped_bit_is_survived(void **state)
{
    (void)state;
    const char text[] =
        "{\"type\":\"window\",\"job\":\"" ID "\",\"attempt\":1,\"language\":"
        "\"en\",\"probability\":0.5,\"next_frame\":10,\"total_frames\":20}"
        "\0body";
    char bytes[sizeof text - 1];
    struct message m;
    for (size_t length = 0; length < strlen(text) + 1; length++) {
        assert_int_equal(message_parse(&m, text, length, NULL), ERR_CORRUPT);
        message_release(&m);
    }
    assert_int_equal(message_parse(&m, text, sizeof text - 1, NULL), 0);
    assert_string_equal(m.body, "body");
    message_release(&m);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        memcpy(bytes, text, sizeof bytes);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        int status = message_parse(&m, bytes, sizeof bytes, NULL);
        assert_true(status == 0 || status == ERR_CORRUPT);
        message_release(&m);
    }
}

static void a_body_is_text(void **state)
{
    (void)state;
    struct message m;
    const char two[] = "{\"type\":\"ready\"}\0a\0b";
    assert_int_equal(message_parse(&m, two, sizeof two, NULL), ERR_CORRUPT);
    message_release(&m);
}

/* Files that a message may not have are closed, not kept. */
static void uninvited_files_are_closed(void **state)
{
    (void)state;
    int before = count_fds();
    struct message m = {.type = MESSAGE_READY, .n_fds = 2, .fds = {0, 0}};
    m.fds[0] = m.fds[1] = ends[0];
    struct message r;
    struct err e;
    assert_int_equal(message_send(ends[0], &m, false, NULL), 0);
    assert_int_equal(message_receive(ends[1], &r, false, &e), ERR_CORRUPT);
    m = (struct message){.type = MESSAGE_MODEL, .serial = 1}; /* must bring one */
    assert_int_equal(message_send(ends[0], &m, false, NULL), 0);
    assert_int_equal(message_receive(ends[1], &r, false, &e), ERR_CORRUPT);
    assert_int_equal(count_fds(), before);
}

static void raw_datagrams_are_bounded(void **state)
{
    (void)state;
    char *bytes = calloc(1, MESSAGE_MAX_BYTES + 5000);
    struct message r;
    assert_true(send(ends[0], bytes, MESSAGE_MAX_BYTES + 5000, 0) > 0);
    assert_int_equal(message_receive(ends[1], &r, false, NULL), ERR_CORRUPT);
    free(bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_job_arrives_as_it_was_sent),
        TEST(nothing_and_the_end_are_told_apart),
        TEST(a_side_that_does_not_read_holds_nobody_up),
        TEST(what_is_too_large_is_not_sent),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(every_cut_and_every_flipped_bit_is_survived),
        cmocka_unit_test(a_body_is_text),
        TEST(uninvited_files_are_closed),
        TEST(raw_datagrams_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
