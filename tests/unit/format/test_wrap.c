/* Where lines may be broken, in the scripts of the world, and where they are best. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "format/wrap.h"

#include <stdlib.h>

static const struct wrap_limits usual = {.width = 42, .lines = 2};

/* The atoms as text: "|" between them, "_" where a space is. */
static void expect_atoms(const char *text, const char *wanted)
{
    struct atoms a = {0};
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(wrap_split(text, &usual, &a), 0);
    for (size_t i = 0; i < a.count; i++) {
        buf_str(&b, a.list[i].spaced ? "_" : i ? "|" : "");
        buf_add(&b, text + a.list[i].from, a.list[i].to - a.list[i].from);
    }
    assert_string_equal(buf_cstr(&b), wanted);
    buf_release(&b);
    atoms_release(&a);
}

static void words_are_never_divided(void **state)
{
    (void)state;
    expect_atoms("He said: well-known, (yes), don't.",
                 "He_said:_well-known,_(yes),_don't.");
    expect_atoms("see http://a.b/c?d=e/f and 1,000.5",
                 "see_http://a.b/c?d=e/f_and_1,000.5");
    expect_atoms("no—one  knows", "no—|one_knows"); /* but after a dash */
    expect_atoms("안녕하세요, 여러분.", "안녕하세요,_여러분.");
    expect_atoms("مرحبا، كيف حالك؟", "مرحبا،_كيف_حالك؟");
    expect_atoms("שלום, מה שלומך?", "שלום,_מה_שלומך?");
    expect_atoms("नमस्ते दुनिया।", "नमस्ते_दुनिया।");
    expect_atoms("", "");
    expect_atoms("   ", "");
    expect_atoms(" a ", "a");
}

static void marks_stay_with_what_they_belong_to(void **state)
{
    (void)state;
    expect_atoms("Bonjour ! « Ça va ? » dit-il", "Bonjour !_« Ça_va ? »_dit-il");
    expect_atoms("»Ja« und 3,5 % mehr", "»Ja«_und_3,5 %_mehr");
    expect_atoms("10\u00A0000 Leute", "10\u00A0000_Leute");
}

/* Kinsoku: no line begins with a closing mark, a small kana or a long-vowel mark, none
 * ends with an opening one. */
static void ideographs_break_anywhere_but_at_marks(void **state)
{
    (void)state;
    expect_atoms("「世界。」と（笑）", "「世|界。」|と|（笑）");
    expect_atoms("ラーメンって", "ラー|メ|ンっ|て");
    expect_atoms("我说（你好！）", "我|说|（你|好！）");
    expect_atoms("用iPhone打", "用|iPhone|打");
}

static void clusters_are_whole(void **state)
{
    (void)state;
    expect_atoms("👨‍👩‍👧‍👦👍🏽 🇩🇪❤️",
                 "👨‍👩‍👧‍👦👍🏽_🇩🇪❤️");
}

static void widths_are_columns(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int width;
    } cases[] = {
        {"abc", 3},      {"e\u0301", 1},
        {"é", 1},        {"世", 2},
        {"ラー", 4},     {"ﾗ", 1},
        {"한", 2},       {"👍", 2},
        {"👍🏽", 2}, {"👨‍👩‍👧‍👦", 2},
        {"🇩🇪", 2},       {"❤️", 2},
        {"สวัสดี", 4},     {"مُ", 1},
        {"Ａ", 2},       {"नि", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct atoms a = {0};
        assert_int_equal(wrap_split(cases[i].text, &usual, &a), 0);
        int width = 0;
        for (size_t k = 0; k < a.count; k++)
            width += a.list[k].width;
        if (width != cases[i].width)
            fail_msg("%s takes %d columns, not %d", cases[i].text, width, cases[i].width);
        atoms_release(&a);
    }
}

static void only_what_fits_nowhere_is_cut(void **state)
{
    (void)state;
    char word[200];
    memset(word, 'x', sizeof word);
    struct atoms a = {0};
    word[84] = '\0'; /* two lines of 42: it stays whole */
    assert_int_equal(wrap_split(word, &usual, &a), 0);
    assert_int_equal(a.count, 1);
    word[84] = 'x';
    word[85] = '\0';
    assert_int_equal(wrap_split(word, &usual, &a), 0);
    assert_int_equal(a.count, 3);
    assert_int_equal(a.list[0].width, 42);
    assert_int_equal(a.list[2].width, 1);
    assert_false(a.list[1].spaced || a.list[2].spaced);
    /* Thai has no spaces to break at: whole lines, whole clusters, whole syllables. */
    static const char thai[] =
        "สวัสดีครับผมชื่อสมชายและผมทำงานที่กรุงเทพมหานครในประเทศไทยมาเป็นเวลานาน";
    assert_int_equal(wrap_split(thai, &usual, &a), 0);
    assert_int_equal(a.count, 2);
    assert_true(a.list[0].width > 30 && a.list[0].width <= 42);
    assert_true(strncmp(thai + a.list[1].from, "ะ", 3) != 0);
    assert_true(strncmp(thai + a.list[1].from - 3, "เ", 3) != 0);
    assert_int_equal(wrap_split("สวัสดีครับ", &usual, &a), 0);
    assert_int_equal(a.count, 1);
    atoms_release(&a);
}

static void ends_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum atom_end end;
    } cases[] = {
        {"word", ATOM_PLAIN},       {"word,", ATOM_CLAUSE},   {"word.", ATOM_SENTENCE},
        {"word.\"", ATOM_SENTENCE}, {"word…", ATOM_SENTENCE}, {"Mr.", ATOM_CLAUSE},
        {"e.g.", ATOM_CLAUSE},      {"(yes)", ATOM_PLAIN},    {"界。」", ATOM_SENTENCE},
        {"حالك؟", ATOM_SENTENCE},   {"مرحبا،", ATOM_CLAUSE},  {"\"\"", ATOM_PLAIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct atoms a = {0};
        assert_int_equal(wrap_split(cases[i].text, &usual, &a), 0);
        if (a.list[a.count - 1].end != cases[i].end)
            fail_msg("%s", cases[i].text);
        atoms_release(&a);
    }
}

/* The text with its best line breaks as "/". */
static void expect_lines(const char *text, struct wrap_limits limits, const char *wanted)
{
    struct atoms a = {0};
    struct buf b;
    bool breaks[200];
    buf_init(&b, 10000);
    assert_int_equal(wrap_split(text, &limits, &a), 0);
    assert_true(a.count <= 200);
    assert_int_equal(wrap_fit(a.list, a.count, &limits), a.count);
    assert_int_equal(wrap_lines(a.list, a.count, &limits, breaks), 0);
    for (size_t i = 0; i < a.count; i++) {
        buf_str(&b, breaks[i] ? "/" : i && a.list[i].spaced ? " " : "");
        buf_add(&b, text + a.list[i].from, a.list[i].to - a.list[i].from);
    }
    assert_string_equal(buf_cstr(&b), wanted);
    buf_release(&b);
    atoms_release(&a);
}

static void lines_are_even_and_end_with_clauses(void **state)
{
    (void)state;
    expect_lines("one line is enough", usual, "one line is enough");
    expect_lines("There are twenty words in this one sentence that say nothing", usual,
                 "There are twenty words in this/one sentence that say nothing");
    expect_lines("When it rains in the hills, the river rises within an hour", usual,
                 "When it rains in the hills,/the river rises within an hour");
    expect_lines("a b c d e f", (struct wrap_limits){42, 3, 2}, "a b/c d/e f");
    expect_lines(
        "今日は天気がいいので、公園に行って散歩をしました。とても気持ちがよかった。",
        (struct wrap_limits){42, 2, 0},
        "今日は天気がいいので、公園に行って/散歩をしました。とても気持ちがよかった。");
}

static void a_block_takes_what_fits(void **state)
{
    (void)state;
    struct atoms a = {0};
    struct wrap_limits small = {.width = 8, .lines = 2};
    assert_int_equal(wrap_split("aaa bbb ccc ddd eee fff", &small, &a), 0);
    assert_int_equal(wrap_fit(a.list, a.count, &small), 4);
    small.words = 1;
    assert_int_equal(wrap_fit(a.list, a.count, &small), 2);
    atoms_release(&a);
    struct wrap_limits tiny = {.width = 8, .lines = 3};
    struct atoms b = {0};
    assert_int_equal(wrap_split("extraordinarily x", &tiny, &b), 0);
    assert_int_equal(wrap_fit(b.list, b.count, &tiny),
                     2); /* whole, on a line of its own */
    atoms_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_never_divided),
        cmocka_unit_test(marks_stay_with_what_they_belong_to),
        cmocka_unit_test(ideographs_break_anywhere_but_at_marks),
        cmocka_unit_test(clusters_are_whole),
        cmocka_unit_test(widths_are_columns),
        cmocka_unit_test(only_what_fits_nowhere_is_cut),
        cmocka_unit_test(ends_are_known),
        cmocka_unit_test(lines_are_even_and_end_with_clauses),
        cmocka_unit_test(a_block_takes_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
