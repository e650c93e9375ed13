/* What a copy says that it is made of, and how copies are called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/made.h"

#include <string.h>

static void fill(struct manifest *m, size_t recordings)
{
    *m = (struct manifest){.version = "1.2.3", .kind = "sqlite", .schema = 14};
    m->time_ms = 1785553200000;
    m->counts = (struct snapshot_counts){.jobs = 7, .transcripts = 5, .keys = 1};
    struct manifest_file f = {.role = ROLE_DATABASE, .bytes = 4096, .stored = 4200};
    memset(f.object, 'a', 64);
    memset(f.sha256, 'b', 64);
    assert_int_equal(manifest_add(m, &f, NULL), 0);
    f.role = ROLE_RECORDING;
    for (size_t i = 0; i < recordings; i++) {
        id_new(f.id);
        assert_int_equal(manifest_add(m, &f, NULL), 0);
    }
    assert_int_equal(manifest_miss(m, f.id, NULL), 0);
}

static void reads_what_it_writes(void **state)
{
    struct manifest m, back;
    struct buf text;
    struct err e;
    (void)state;
    fill(&m, 3);
    buf_init(&text, MANIFEST_MAX);
    assert_int_equal(manifest_compose(&m, &text, &e), 0);
    assert_int_equal(manifest_parse(&back, text.data, text.length, &e), 0);
    assert_string_equal(back.version, "1.2.3");
    assert_int_equal(back.schema, 14);
    assert_true(back.time_ms == m.time_ms && back.counts.jobs == 7);
    assert_int_equal(back.n_files, 4);
    assert_int_equal(back.n_missing, 1);
    assert_string_equal(back.files[3].id, m.files[3].id);
    assert_true(manifest_bytes(&back) == 4 * 4096);
    manifest_release(&back);
    manifest_release(&m);
    buf_release(&text);
}

/* Any byte, any length: it is damaged, and says nothing else. */
static void sees_any_damage(void **state)
{
    struct manifest m, back;
    struct buf text;
    struct err e;
    (void)state;
    fill(&m, 1);
    buf_init(&text, MANIFEST_MAX);
    assert_int_equal(manifest_compose(&m, &text, &e), 0);
    for (size_t i = 0; i < text.length; i++) {
        text.data[i] ^= 1;
        assert_int_equal(manifest_parse(&back, text.data, text.length, &e), ERR_CORRUPT);
        text.data[i] ^= 1;
        assert_int_equal(manifest_parse(&back, text.data, i, &e), ERR_CORRUPT);
    }
    assert_int_equal(manifest_parse(&back, text.data, text.length, &e), 0);
    manifest_release(&back);
    manifest_release(&m);
    buf_release(&text);
}

static void names_sort_by_time(void **state)
{
    char early[MADE_NAME_SIZE], late[MADE_NAME_SIZE];
    int64_t time_ms;
    (void)state;
    made_name(1785553200000, early);
    made_name(1785553201000, late);
    assert_true(strcmp(early, late) < 0);
    assert_true(made_name_parse(early, &time_ms));
    assert_true(time_ms == 1785553200000);
    static const char *const none[] = {"",
                                       "latest",
                                       "20260801T031500Z",
                                       "../../x",
                                       "20260801T031500Z-1a2b3c4d5",
                                       "20260801T031500Z-1A2B3C4D",
                                       "20260801T031500Z-1a2b3c4d/../x"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(made_name_parse(none[i], &time_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(sees_any_damage),
        cmocka_unit_test(names_sort_by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
