#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/disposition.h"

static char text[4096];

static const char *param(const char *header, const char *name)
{
    struct buf b;
    buf_init(&b, sizeof text - 1);
    bool found = http_disposition_param(header, name, &b);
    (void)snprintf(text, sizeof text, "%s", buf_cstr(&b));
    buf_release(&b);
    return found ? text : NULL;
}

static const char *display(const char *name)
{
    struct buf b;
    buf_init(&b, sizeof text - 1);
    http_display_name(&b, name);
    (void)snprintf(text, sizeof text, "%s", buf_cstr(&b));
    buf_release(&b);
    return text;
}

static const char *attachment(const char *name)
{
    struct buf b;
    buf_init(&b, sizeof text - 1);
    http_disposition_attachment(&b, name);
    (void)snprintf(text, sizeof text, "%s", buf_cstr(&b));
    buf_release(&b);
    return text;
}

static void reads_what_clients_send(void **state)
{
    (void)state;
    static const char plain[] = "form-data; name=\"file\"; filename=\"a b.mp3\"";
    assert_string_equal(param(plain, "name"), "file");
    assert_string_equal(param(plain, "filename"), "a b.mp3");
    assert_null(param(plain, "filename*"));
    assert_string_equal(param("form-data;name=file;filename=x.wav", "filename"), "x.wav");
    assert_string_equal(param("form-data; NAME = \"f\"", "name"), "f");
    /* curl, then browsers */
    assert_string_equal(param("form-data; filename=\"a\\\"b\\\\c\"", "filename"),
                        "a\"b\\c");
    assert_string_equal(param("form-data; filename=\"a%22b%0D%0Ac%41\"", "filename"),
                        "a\"b\r\nc%41");
    assert_string_equal(param("form-data; filename=\"C:\\dir\\x.mp3\"", "filename"),
                        "C:\\dir\\x.mp3");
    assert_string_equal(param("form-data; filename*=UTF-8''%c3%a4%20.mp3", "filename*"),
                        "\xC3\xA4 .mp3");
    assert_string_equal(param("form-data; filename=\"; name=x\"; name=y", "name"), "y");
}

static void refuses_what_is_malformed(void **state)
{
    (void)state;
    assert_null(param("form-data", "name"));
    assert_null(param("form-data; name", "name"));
    assert_null(param("form-data; name=\"open", "name"));
    assert_null(param("form-data; filename=\"open; name=x", "name"));
    assert_null(param("form-data; filename*=latin1''x", "filename*"));
    assert_null(param("form-data; filename*=UTF-8''%ff", "filename*"));
    assert_null(param("form-data; filename*=UTF-8''%00", "filename*"));
    assert_null(param("form-data; filename*=UTF-8'x", "filename*"));
    assert_null(param("form-data;;;===;\"\";", "name"));
}

static void keeps_the_last_component(void **state)
{
    (void)state;
    assert_string_equal(display("../../etc/passwd"), "passwd");
    assert_string_equal(display("C:\\fakepath\\talk.mp3"), "talk.mp3");
    assert_string_equal(display("a\r\nb\x7F.mp3"), "a__b_.mp3");
    assert_string_equal(display("a/"), "");
    assert_string_equal(display("\xFF.mp3"), "\xEF\xBF\xBD.mp3");
}

static void cuts_long_names_but_keeps_their_ending(void **state)
{
    (void)state;
    char name[1000];
    for (int i = 0; i < 300; i++)
        memcpy(name + 2 * i, "\xC3\xA4", 2);
    memcpy(name + 600, ".flac", 6);
    const char *shown = display(name);
    size_t length = strlen(shown);
    assert_true(length <= 255 && length >= 250);
    assert_string_equal(shown + length - 5, ".flac");
    assert_int_equal((length - 5) % 2, 0);
}

static void writes_safe_headers(void **state)
{
    (void)state;
    assert_string_equal(attachment("talk.srt"),
                        "attachment; filename=\"talk.srt\"; filename*=UTF-8''talk.srt");
    assert_string_equal(attachment("a\"b\\c%d/e.txt"),
                        "attachment; filename=\"a_b_c_d_e.txt\"; "
                        "filename*=UTF-8''a%22b%5Cc%25d%2Fe.txt");
    assert_string_equal(attachment("\xC3\xBC\xE2\x82\xAC\n.txt"),
                        "attachment; filename=\"___.txt\"; "
                        "filename*=UTF-8''%C3%BC%E2%82%AC%0A.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_clients_send),
        cmocka_unit_test(refuses_what_is_malformed),
        cmocka_unit_test(keeps_the_last_component),
        cmocka_unit_test(cuts_long_names_but_keeps_their_ending),
        cmocka_unit_test(writes_safe_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
