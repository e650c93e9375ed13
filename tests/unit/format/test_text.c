#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>
#include <math.h>

#include "base/mem.h"
#include "format/text.h"

static void flat_is(const char *text, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(text_flat(&out, text), *wanted != '\0');
    assert_string_equal(buf_cstr(&out), wanted);
    buf_release(&out);
}

static void cue_is(const char *text, bool markup, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1000);
    text_cue(&out, text, markup);
    assert_string_equal(buf_cstr(&out), wanted);
    assert_null(strstr(buf_cstr(&out), "-->"));
    buf_release(&out);
}

static void damaged_utf8_is_replaced(void **state)
{
    (void)state;
    flat_is("a\xFFz", "a\xEF\xBF\xBDz");
    flat_is("\xC3", "\xEF\xBF\xBD");                 /* cut short */
    flat_is("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"); /* overlong / */
    flat_is("\xE0\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    flat_is("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* surrogate */
    flat_is("\xF4\x90\x80\x80",
            "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* past U+10FFFF */
    flat_is("\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80");
}

static void lines_are_flattened_and_ends_trimmed(void **state)
{
    (void)state;
    flat_is("  one\ntwo\r\nthree\xE2\x80\xA8\x66our\xC2\xA0", "one two  three four");
    flat_is("\x07 a\x1B[31mb\x7F", " a[31mb");
    flat_is(" \xE3\x80\x80\n", "");
    flat_is("", "");
}

static void arrows_are_harmless(void **state)
{
    (void)state;
    cue_is("a-->b", false, "a->b");
    cue_is("a---->b", false, "a->b");
    cue_is("-->-->", false, "->->");
    cue_is("--\x01>", false, "->");
    cue_is("-->", true, "->");
    cue_is("- -> --", false, "- -> --");
    cue_is("<v &lt; x>", true, "&lt;v &amp;lt; x>");
}

static void time_is(double seconds, bool hours, const char *wanted)
{
    struct buf out;
    buf_init(&out, 100);
    text_time(&out, text_milliseconds(seconds), hours, '.');
    assert_string_equal(buf_cstr(&out), wanted);
    buf_release(&out);
}

static void times_are_rounded(void **state)
{
    (void)state;
    time_is(0, false, "00:00.000");
    time_is(0.0004, true, "00:00:00.000");
    time_is(59.9996, false, "01:00.000");
    time_is(3599.9999, false, "01:00:00.000");
    time_is(-3, false, "00:00.000");
    time_is(NAN, false, "00:00.000");
    time_is(INFINITY, false, "277777:46:40.000");
}

static void number_is(double value, const char *wanted)
{
    struct buf out;
    buf_init(&out, 100);
    text_double(&out, value);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_release(&out);
}

static void numbers_are_short_and_exact(void **state)
{
    (void)state;
    number_is(0, "0.0");
    number_is(11, "11.0");
    number_is(0.1, "0.1");
    number_is(29.98, "29.98");
    number_is(0.1 + 0.2, "0.30000000000000004");
    number_is(NAN, "null");
    struct buf out;
    buf_init(&out, 100);
    text_float(&out, 0.6f);
    assert_string_equal(buf_cstr(&out), "0.6");
    buf_release(&out);
}

static void a_decimal_comma_does_not_get_in(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE",       "fr_FR.UTF-8",
                                        "nl_NL",       "ru_RU.UTF-8", "it_IT.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < ARRAY_LENGTH(names) && !found; i++)
        found = setlocale(LC_NUMERIC, names[i]) != NULL;
    if (!found) {
        print_message("skipped: no locale with a decimal comma is installed\n");
        skip();
    }
    number_is(2.5, "2.5");
    number_is(1e300, "1e+300");
    setlocale(LC_NUMERIC, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_utf8_is_replaced),
        cmocka_unit_test(lines_are_flattened_and_ends_trimmed),
        cmocka_unit_test(arrows_are_harmless),
        cmocka_unit_test(times_are_rounded),
        cmocka_unit_test(numbers_are_short_and_exact),
        cmocka_unit_test(a_decimal_comma_does_not_get_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
