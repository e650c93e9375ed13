/* Lines of the log: well-formed whatever comes in, and however much. */
#include "base/log_line.h"
#include "base/mem.h"
#include "base/service_manager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct log_line line_of(const char *message)
{
    return (struct log_line){
        .level = LOG_INFO, .role = "serve", .pid = 7, .message = message};
}

static void text_from_outside_obeys(void **state)
{
    (void)state;
    static const struct {
        const char *given, *text, *json;
    } cases[] = {
        {"plain €", "plain €", "plain €"},
        {"a\nb\x7F", "a\\x0ab\\x7f", "a\\u000ab\\u007f"},
        {"\"\\", "\"\\", "\\\"\\\\"},
        {"\xC2\x85|\xE2\x80\xAE|\xE2\x81\xA6", "\\u0085|\\u202e|\\u2066",
         "\\u0085|\\u202e|\\u2066"},
        /* Half a character, a surrogate, one too long, one too large. */
        {"\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD",
         "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD",
         "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
    };
    char out[LOG_LINE_BYTES];
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct log_line l = line_of(cases[i].given);
        size_t length = log_line_text(&l, false, out);
        assert_int_equal(length, strlen(out));
        assert_string_equal(out, cases[i].text);
        length = log_line_json(&l, out);
        assert_int_equal(length, strlen(out));
        const char *message = strstr(out, "\"message\":\"");
        assert_non_null(message);
        message += strlen("\"message\":\"");
        assert_memory_equal(message, cases[i].json, strlen(cases[i].json));
        assert_string_equal(message + strlen(cases[i].json), "\"}");
    }
}

/* What does not fit is left out as a whole: the line ends as it should. */
static void a_line_that_is_too_long_stays_whole(void **state)
{
    (void)state;
    char out[LOG_LINE_BYTES], long_text[LOG_MESSAGE_BYTES];
    memset(long_text, 1, sizeof long_text - 1); /* six bytes for each */
    long_text[sizeof long_text - 1] = '\0';
    const struct log_field fields[] = {
        {"path", long_text, 0}, {"status", NULL, 200}, {"milliseconds", NULL, 1.5}};
    struct log_line l = line_of(long_text);
    l.fields = fields;
    l.n_fields = ARRAY_LENGTH(fields);
    size_t length = log_line_json(&l, out);
    assert_int_equal(length, strlen(out));
    assert_true(length < LOG_LINE_BYTES);
    assert_null(strstr(out, "\"path\""));
    assert_string_equal(out + length - strlen(",\"status\":200,\"milliseconds\":1.500}"),
                        ",\"status\":200,\"milliseconds\":1.500}");
    length = log_line_text(&l, true, out);
    assert_int_equal(length, strlen(out));
}

static void fields_of_the_journal_cannot_be_made_up(void **state)
{
    (void)state;
    char out[LOG_LINE_BYTES];
    const struct log_line l = line_of("unused");
    size_t length = log_line_journal(&l, 6, "a\nPRIORITY=0", out, sizeof out);
    static const char wanted[] = "PRIORITY\n\1\0\0\0\0\0\0\0"
                                 "6\nMESSAGE\n\14\0\0\0\0\0\0\0a\nPRIORITY=0\n";
    assert_true(length > sizeof wanted);
    assert_memory_equal(out, wanted, sizeof wanted - 1);
    /* One that does not fit is left out. */
    assert_true(log_line_journal(&l, 6, "message", out, 20) < 20);
}

/* ---- the service manager -------------------------------------------------------------
 */

static void set_number(const char *name, long value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%ld", value);
    assert_int_equal(setenv(name, text, 1), 0);
}

static void a_manager_is_told(void **state)
{
    (void)state;
    struct sockaddr_un name = {AF_UNIX, ""};
    (void)snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "wt-test-%d", getpid());
    socklen_t length =
        (socklen_t)(sizeof name.sun_family + 1 + strlen(name.sun_path + 1));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, length), 0);
    char address[120], heard[200] = "";
    (void)snprintf(address, sizeof address, "@%s", name.sun_path + 1);
    service_manager_ready(); /* nobody listens yet */
    assert_int_equal(setenv("NOTIFY_SOCKET", address, 1), 0);
    set_number("WATCHDOG_PID", getpid());
    set_number("WATCHDOG_USEC", 30000000);
    set_number("LISTEN_PID", getpid() + 1); /* for somebody else */
    set_number("LISTEN_FDS", 1);
    service_manager_open();
    assert_true(service_manager_listens());
    assert_true(service_manager_watchdog_ns() == INT64_C(30000000000));
    assert_int_equal(service_manager_socket("http"), -1);
    assert_null(getenv("NOTIFY_SOCKET"));
    service_manager_status("two lines\nREADY=1");
    ssize_t n = recv(fd, heard, sizeof heard - 1, 0);
    assert_true(n > 0);
    heard[n] = '\0';
    assert_string_equal(heard, "STATUS=two lines");
    service_manager_reloading();
    n = recv(fd, heard, sizeof heard - 1, 0);
    assert_true(n > 0);
    heard[n] = '\0';
    assert_memory_equal(heard, "RELOADING=1\nMONOTONIC_USEC=", 27);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_from_outside_obeys),
        cmocka_unit_test(a_line_that_is_too_long_stays_whole),
        cmocka_unit_test(fields_of_the_journal_cannot_be_made_up),
        cmocka_unit_test(a_manager_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
