#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/chunks.h"

#include <string.h>

static bool is_first(const char *text)
{
    return http_chunk_line_valid(text, strlen(text), true);
}

static bool is_next(const char *text)
{
    return http_chunk_line_valid(text, strlen(text), false);
}

static void takes_lines_of_the_right_form(void **state)
{
    (void)state;
    assert_true(is_first("5\r\n"));
    assert_true(is_first("\r\nfF\r\n"));
    assert_true(is_next("\r\n0000000000000005\r\n"));
    assert_true(is_next("\r\n5;a=b;c=\"d e\"\r\n"));
    assert_false(is_next("5\r\n"));
}

static void refuses_all_others(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",           "\r\n",       "\r\n\r\n",  "5\n",    "\n5\r\n",
        "\r5\r\n",    "5\r\r\n",    "5 \r\n",    "+5\r\n", "0x5\r\n",
        "5;a\nb\r\n", "5;a\rb\r\n", "5,a\r\n",   "g\r\n",  "00000000000000005\r\n",
        "5;a\n",      ";a\r\n",     "5\r\n5\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (is_first(wrong[i]))
            fail_msg("number %zu was taken", i);
    char long_one[HTTP_CHUNK_EXTENSION_MAX + 8] = "5;";
    memset(long_one + 2, 'a', HTTP_CHUNK_EXTENSION_MAX - 1);
    memcpy(long_one + HTTP_CHUNK_EXTENSION_MAX + 1, "\r\n", 3);
    assert_true(is_first(long_one));
    long_one[HTTP_CHUNK_EXTENSION_MAX + 1] = 'a';
    long_one[HTTP_CHUNK_EXTENSION_MAX + 2] = '\r';
    long_one[HTTP_CHUNK_EXTENSION_MAX + 3] = '\n';
    assert_false(is_first(long_one));
}

/* Pieces as the library hands them out of its buffer. */
static void sees_what_stands_between_pieces(void **state)
{
    (void)state;
    static const char buffer[] = "2\r\n{}\r\n1\n!\r\n1\r\n?";
    struct http_chunks c = {.start = buffer};
    assert_true(http_chunks_look(&c, buffer + 3, 2));
    assert_false(http_chunks_look(&c, buffer + 9, 1));
    assert_false(http_chunks_look(&c, buffer, 1)); /* for good */
    /* A buffer that begins with a piece, and one that begins behind a chunk. */
    c = (struct http_chunks){.start = buffer};
    assert_true(http_chunks_look(&c, buffer, 1));
    static const char next[] = "\r\n00005;abc\r\nhello";
    c = (struct http_chunks){.start = next};
    assert_true(http_chunks_look(&c, next, 3));
    assert_true(http_chunks_look(&c, strchr(next, 'h'), 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_lines_of_the_right_form),
        cmocka_unit_test(refuses_all_others),
        cmocka_unit_test(sees_what_stands_between_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
