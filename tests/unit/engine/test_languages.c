#include "engine/whisper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_order_is_that_of_the_tokens(void **state)
{
    (void)state;
    assert_int_equal(whisper_language_count(), 100);
    assert_string_equal(whisper_language_code(0), "en");
    assert_string_equal(whisper_language_code(1), "zh");
    assert_string_equal(whisper_language_code(7), "ja");
    assert_string_equal(whisper_language_code(98), "su");
    assert_string_equal(whisper_language_code(99), "yue");
    assert_string_equal(whisper_language_name(88), "tibetan");
    assert_null(whisper_language_code(-1));
    assert_null(whisper_language_code(100));
    assert_null(whisper_language_name(-1));
    assert_null(whisper_language_name(100));
}

static void test_finds_codes_names_and_aliases_in_any_case(void **state)
{
    (void)state;
    for (int i = 0; i < whisper_language_count(); i++) {
        assert_int_equal(whisper_language_find(whisper_language_code(i)), i);
        assert_int_equal(whisper_language_find(whisper_language_name(i)), i);
    }
    assert_int_equal(whisper_language_find("DE"), 2);
    assert_int_equal(whisper_language_find("German"), 2);
    assert_int_equal(whisper_language_find("Haitian Creole"),
                     whisper_language_find("ht"));
    assert_int_equal(whisper_language_find("Castilian"), whisper_language_find("es"));
    assert_int_equal(whisper_language_find("mandarin"), whisper_language_find("zh"));
    assert_int_equal(whisper_language_find("flemish"), whisper_language_find("nl"));
    static const char *const tags[][2] = {
        {"en-US", "en"}, {"pt_BR", "pt"},    {"zh-Hant-TW", "zh"}, {"yue-HK", "yue"},
        {"fil", "tl"},   {"FIL-ph", "tl"},   {"nb-NO", "no"},      {"jv", "jw"},
        {"iw", "he"},    {"cmn-Hans", "zh"},
    };
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        assert_int_equal(whisper_language_find(tags[i][0]),
                         whisper_language_find(tags[i][1]));
}

static void test_refuses_what_is_no_language(void **state)
{
    (void)state;
    static const char *const names[] = {"",         "xx",    "e",         "eng",
                                        "english ", "auto",  "klingon",   "-",
                                        "-US",      "xx-EN", "english-US"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(whisper_language_find(names[i]), -1);
    assert_int_equal(whisper_language_find(NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_that_of_the_tokens),
        cmocka_unit_test(test_finds_codes_names_and_aliases_in_any_case),
        cmocka_unit_test(test_refuses_what_is_no_language),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
