/* Keys as text, scopes, times to expire at, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "job/key_text.h"

#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)
#define NOW  INT64_C(1796000000000) /* 2026-11-30T00:53:20Z */

static void a_key_is_what_it_was_made(void **state)
{
    (void)state;
    char text[KEY_TEXT_SIZE], id[KEY_ID_SIZE], hash[KEY_HASH_SIZE];
    char read_id[KEY_ID_SIZE], read_hash[KEY_HASH_SIZE];
    for (int i = 0; i < 1000; i++) {
        key_text_make(KEY_PREFIX, text, id, hash);
        assert_int_equal(strlen(text), KEY_TEXT_SIZE - 1);
        assert_true(key_id_valid(id));
        assert_true(key_text_parse(KEY_PREFIX, text, read_id, read_hash));
        assert_string_equal(read_id, id);
        assert_true(key_hash_equal(hash, read_hash));
        assert_null(strstr(hash, text + 20));
    }
    assert_false(key_text_parse(KEY_SESSION, text, read_id, read_hash));
}

static void another_secret_has_another_hash(void **state)
{
    (void)state;
    char text[KEY_TEXT_SIZE], id[KEY_ID_SIZE], hash[KEY_HASH_SIZE];
    char read_id[KEY_ID_SIZE], read_hash[KEY_HASH_SIZE];
    key_text_make(KEY_PREFIX, text, id, hash);
    for (size_t i = 3; i < KEY_TEXT_SIZE - 1; i++) {
        char was = text[i];
        if (i == 19)
            continue;
        text[i] = was == '0' ? '1' : '0';
        assert_true(key_text_parse(KEY_PREFIX, text, read_id, read_hash));
        assert_false(key_hash_equal(hash, read_hash));
        text[i] = was;
    }
}

static void what_is_no_key_is_told(void **state)
{
    (void)state;
    char good[KEY_TEXT_SIZE], text[200], id[KEY_ID_SIZE], hash[KEY_HASH_SIZE];
    key_text_make(KEY_PREFIX, good, id, hash);
    static const char *const bad[] = {
        "", "wt", "wt_", "wt__", "sk-proj-1234", "wt_0123456789abcdef_short"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_false(key_text_parse(KEY_PREFIX, bad[i], id, hash));
    (void)snprintf(text, sizeof text, "%sx", good);
    assert_false(key_text_parse(KEY_PREFIX, text, id, hash));
    (void)snprintf(text, sizeof text, "%s", good);
    for (size_t i = 0; i < KEY_TEXT_SIZE - 1; i++) {
        static const char signs[] = " \n%/\x7F\xC3";
        for (const char *c = signs; *c; c++) {
            text[i] = *c;
            assert_false(key_text_parse(KEY_PREFIX, text, id, hash));
        }
        text[i] = good[i];
    }
    text[5] = 'G'; /* no digit of an id */
    assert_false(key_text_parse(KEY_PREFIX, text, id, hash));
}

static void reads_scopes(void **state)
{
    (void)state;
    int scopes;
    struct err e;
    assert_int_equal(key_scopes_parse("read", &scopes, &e), 0);
    assert_int_equal(scopes, KEY_READ);
    assert_int_equal(key_scopes_parse("transcribe, read,", &scopes, &e), 0);
    assert_int_equal(scopes, KEY_READ | KEY_TRANSCRIBE);
    assert_int_equal(key_scopes_parse("admin", &scopes, &e), 0);
    assert_int_equal(scopes, KEY_ADMIN);
    static const char *const bad[] = {"", " ,", "write", "Read", "reads", "read;admin"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_int_equal(key_scopes_parse(bad[i], &scopes, &e), ERR_INVALID);
    assert_string_equal(key_scope_name(KEY_SCOPES, 2), "admin");
    assert_null(key_scope_name(KEY_READ, 2));
    assert_null(key_scope_name(KEY_SCOPES, 3));
    assert_null(key_scope_name(KEY_SCOPES, -1));
}

static void reads_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"never", 0},
        {"1m", NOW + HOUR / 60},
        {"12h", NOW + 12 * HOUR},
        {"30d", NOW + 30 * DAY},
        {"2W", NOW + 14 * DAY},
        {"36500d", NOW + 36500 * DAY},
        {"2026-11-30", INT64_C(1796083200000)},
        {"2027-01-31", INT64_C(1801440000000)},
        {"2028-02-29", INT64_C(1835481600000)},
        {"2026-11-30T01:00:00Z", INT64_C(1796000400000)},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        int64_t ms;
        struct err e = {0};
        if (key_expiry_parse(good[i].text, NOW, &ms, &e))
            fail_msg("%s: %s", good[i].text, e.message);
        if (ms != good[i].ms)
            fail_msg("%s: %lld", good[i].text, (long long)ms);
    }
    static const char *const bad[] = {
        "",           "0d",          "d",          "30",         "30 d",
        "30dd",       "-1d",         "36501d",     "999999999d", "1y",
        "2027-02-29", "2027-02-31",  "2027-13-01", "2026-11-29", "2027-1-1",
        "2027-01-0x", "2027-01-01T", "tomorrow",   "Never",      "2027-01-01T25:00:00Z"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        int64_t ms;
        struct err e = {0};
        if (key_expiry_parse(bad[i], NOW, &ms, &e) != ERR_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_true(strlen(e.message) > 10);
    }
}

static void names_are_for_people(void **state)
{
    (void)state;
    char longest[KEY_NAME_SIZE + 1];
    memset(longest, 'n', sizeof longest);
    longest[KEY_NAME_SIZE] = '\0';
    assert_int_equal(key_name_check(longest, NULL), ERR_INVALID);
    longest[KEY_NAME_SIZE - 1] = '\0';
    assert_int_equal(key_name_check(longest, NULL), 0);
    assert_int_equal(key_name_check("Gräfelfing, 漢字 🎧", NULL), 0);
    static const char *const bad[] = {"",
                                      "a\nb",
                                      "a\x1B[2J",
                                      "\xFF",
                                      "\xC3\x28",
                                      "a\x7F"
                                      "b",
                                      "\xC2\x9B"
                                      "2J"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_int_equal(key_name_check(bad[i], NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_what_it_was_made),
        cmocka_unit_test(another_secret_has_another_hash),
        cmocka_unit_test(what_is_no_key_is_told),
        cmocka_unit_test(reads_scopes),
        cmocka_unit_test(reads_times),
        cmocka_unit_test(names_are_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
