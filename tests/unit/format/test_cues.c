/* Cues: what goes on the screen together, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "format/cues.h"
#include "format/text.h"

#include <math.h>
#include <stdlib.h>

static struct transcript transcript;
static struct cue_options options;
static struct cues cues;

static int begin(void **state)
{
    (void)state;
    transcript_init(&transcript);
    cue_options_init(&options);
    cues = (struct cues){0};
    return 0;
}

static int end(void **state)
{
    (void)state;
    cues_release(&cues);
    transcript_release(&transcript);
    return 0;
}

static void add(double start, double stop, const char *text)
{
    char copy[2000];
    snprintf(copy, sizeof copy, "%s", text);
    const struct transcript_segment s = {.start = start, .end = stop, .text = copy};
    assert_int_equal(transcript_add(&transcript, &s), 0);
}

struct said {
    const char *text;
    double start, end;
};

static void add_said(double start, double stop, const char *text, const struct said *said,
                     size_t n)
{
    struct transcript_word words[100];
    char *copy = mem_strdup(text);
    for (size_t i = 0; i < n; i++)
        words[i] = (struct transcript_word){.text = mem_strdup(said[i].text),
                                            .start = said[i].start,
                                            .end = said[i].end,
                                            .probability = 1};
    const struct transcript_segment s = {
        .start = start, .end = stop, .text = copy, .words = words, .n_words = n};
    assert_int_equal(transcript_add(&transcript, &s), 0);
    for (size_t i = 0; i < n; i++)
        free(words[i].text);
    free(copy);
}

/* A segment whose text its words are. */
static void add_words(const struct said *said, size_t n)
{
    char text[2000] = "";
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s", said[i].text);
    }
    add_said(said[0].start, said[n - 1].end, text, said, n);
}
#define ADD_WORDS(...)                                                                   \
    add_words((const struct said[]){__VA_ARGS__},                                        \
              sizeof((const struct said[]){__VA_ARGS__}) / sizeof(struct said))

static void build(void)
{
    cues_release(&cues);
    assert_int_equal(cues_build(&transcript, &options, &cues), 0);
}

static void expect(size_t i, int64_t start_ms, int64_t end_ms, const char *text)
{
    assert_true(i < cues.count);
    const struct cue *c = &cues.list[i];
    if (strcmp(c->text, text) != 0 || c->start_ms != start_ms || c->end_ms != end_ms)
        fail_msg("cue %zu is %lld-%lld \"%s\", not %lld-%lld \"%s\"", i,
                 (long long)c->start_ms, (long long)c->end_ms, c->text,
                 (long long)start_ms, (long long)end_ms, text);
}

/* ---- time ------------------------------------------------------------------------ */

static void short_cues_stand_as_long_as_there_is_time(void **state)
{
    (void)state;
    add(1, 1.2, " Yes.");
    add(5, 5.5, " This line has forty characters in it, ok.");
    add(6, 6.2, " No.");
    add(6.5, 9, " And so on.");
    build();
    assert_int_equal(cues.count, 4);
    expect(0, 1000, 1833, "Yes."); /* 5/6 s */
    expect(1, 5000, 5917,
           "This line has forty characters in it, ok."); /* the gap before the next */
    expect(2, 6000, 6500, "No."); /* too short already: no gap is taken from it */
    expect(3, 6500, 9000, "And so on.");
}

static void reading_takes_time(void **state)
{
    (void)state;
    add(1, 1.5, " This line has forty characters in it, ok."); /* 41: 2.05 s at 20 */
    build();
    expect(0, 1000, 3050, "This line has forty characters in it, ok.");
    options.max_cps = 10;
    build();
    expect(0, 1000, 5100, "This line has forty characters in it, ok.");
    transcript_release(&transcript);
    add(1, 1.5, " 今日は天気がいい。"); /* nine wide characters: 18 columns */
    build();
    expect(0, 1000, 2800, "今日は天気がいい。");
}

static void the_last_cue_ends_with_the_recording(void **state)
{
    (void)state;
    transcript.duration = 1.5;
    add(1, 1.2, " Yes.");
    build();
    expect(0, 1000, 1500, "Yes.");
}

static void nothing_stands_too_long(void **state)
{
    (void)state;
    add(0, 30, " Hello there.");
    build();
    assert_int_equal(cues.count, 1);
    expect(0, 0, 7000, "Hello there.");
}

static void cues_keep_their_distance(void **state)
{
    (void)state;
    add(0, 2, " One thing.");
    add(2, 4, " Another thing.");
    add(4.05, 6, " A third.");
    build();
    expect(0, 0, 1917, "One thing.");
    expect(1, 2000, 3967, "Another thing.");
    expect(2, 4050, 6000, "A third.");
}

static void overlaps_and_backward_times_are_put_in_order(void **state)
{
    (void)state;
    add(3, 5, " first");
    add(4, 6, " second");
    add(1, 2, " third");
    add(6, 5, " fourth");
    build();
    int64_t before = 0;
    for (size_t i = 0; i < cues.count; i++) {
        assert_true(cues.list[i].start_ms >= before);
        assert_true(cues.list[i].end_ms > cues.list[i].start_ms);
        before = cues.list[i].end_ms;
    }
    assert_int_equal(cues.count, 4);
}

/* ---- division -------------------------------------------------------------------- */

static void a_long_segment_is_divided_in_proportion(void **state)
{
    (void)state;
    add(0, 30,
        " The first sentence is here to be read. The second one, which is somewhat "
        "longer, "
        "follows it without a pause. The third one ends all this.");
    build();
    assert_true(cues.count >= 5); /* none stands for more than 7 s */
    for (size_t i = 0; i < cues.count; i++)
        assert_true(cues.list[i].end_ms - cues.list[i].start_ms <= 7000);
    assert_true(cues.list[cues.count - 1].end_ms <= 30000);
    assert_true(cues.list[cues.count - 1].end_ms > 29000);
}

static void division_prefers_the_ends_of_sentences(void **state)
{
    (void)state;
    add(0, 8,
        " The first sentence is here to be read. The second one, which is somewhat "
        "longer, "
        "follows it without a pause.");
    build();
    assert_int_equal(cues.count, 2);
    expect(0, 0, cues.list[0].end_ms, "The first sentence is here to be read.");
    assert_string_equal(cues.list[1].text, "The second one, which is somewhat longer,\n"
                                           "follows it without a pause.");
    /* 37 columns without spaces between the atoms' shares of 107 */
    assert_int_equal(cues.list[1].start_ms, cues.list[0].end_ms + 83);
}

static void division_follows_the_words(void **state)
{
    (void)state;
    ADD_WORDS({" Wait", 0.5, 0.9}, {" a", 1, 1.1}, {" minute,", 1.1, 1.5}, {" I", 9, 9.1},
              {" know", 9.1, 9.4}, {" that", 9.4, 9.7}, {" song.", 9.7, 10.2});
    build();
    assert_int_equal(cues.count, 2);
    expect(0, 500, 1500, "Wait a minute,");
    expect(1, 9000, 10200, "I know that song.");
}

static void words_of_another_text_are_not_believed(void **state)
{
    (void)state;
    add_said(1, 3, " right and long", (const struct said[]){{" wrong", 5, 6}}, 1);
    build();
    expect(0, 1000, 3000, "right and long");
    assert_null(cues.list[0].words);
}

static void words_stay_within_their_segment(void **state)
{
    (void)state;
    const struct said words[] = {{" one", 0, 2.5}, {" two", 2, 99}};
    add_said(1, 3, " one two", words, 2);
    build();
    expect(0, 1000, 3000, "one two");
    assert_int_equal(cues.list[0].words[0].end_ms, 2500);
    assert_int_equal(cues.list[0].words[1].start_ms, 2500);
}

static void empty_segments_give_no_cue(void **state)
{
    (void)state;
    add(0, 1, "");
    add(1, 2, "  \n ");
    add(2, 4, " x");
    build();
    assert_int_equal(cues.count, 1);
    expect(0, 2000, 4000, "x");
}

static void limits_are_kept(void **state)
{
    (void)state;
    add(0, 6, " one two three four five six seven eight nine ten");
    options.max_line_width = 12;
    options.max_line_count = 1;
    build();
    for (size_t i = 0; i < cues.count; i++) {
        assert_true(strlen(cues.list[i].text) <= 12);
        assert_null(strchr(cues.list[i].text, '\n'));
    }
    options.max_line_width = 42;
    options.max_line_count = 2;
    options.max_words_per_line = 2;
    build();
    assert_string_equal(cues.list[0].text, "one two\nthree four");
    assert_int_equal(cues.count, 3);
}

static void arrows_and_markup_stay_text(void **state)
{
    (void)state;
    add(0, 2, " a --> b <i>&amp; c");
    build();
    expect(0, 0, 2000, "a -> b <i>&amp; c");
}

/* ---- words ----------------------------------------------------------------------- */

static void expect_file(enum format f, const char *wanted)
{
    struct buf out;
    buf_init(&out, 100000);
    assert_int_equal(format_write_as(f, &transcript, &options, &out), 0);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_release(&out);
}

static void each_word_is_underlined_in_its_time(void **state)
{
    (void)state;
    ADD_WORDS({" Salt", 1, 1.5}, {" &", 1.5, 1.6}, {" pepper.", 2, 3});
    options.highlight_words = true;
    expect_file(FORMAT_VTT, "WEBVTT\n\n"
                            "00:01.000 --> 00:01.500\n<u>Salt</u> &amp; pepper.\n\n"
                            "00:01.500 --> 00:01.600\nSalt <u>&amp;</u> pepper.\n\n"
                            "00:01.600 --> 00:02.000\nSalt &amp; pepper.\n\n"
                            "00:02.000 --> 00:03.000\nSalt &amp; <u>pepper.</u>\n\n");
    options.highlight_words = false;
    expect_file(FORMAT_SRT, "1\n00:00:01,000 --> 00:00:03,000\nSalt & pepper.\n\n");
}

static void a_word_on_two_lines_is_underlined_on_both(void **state)
{
    (void)state;
    ADD_WORDS({"今日は天気が", 0, 2}, {"いい。", 2, 3});
    options.highlight_words = true;
    options.max_line_width = 10;
    expect_file(FORMAT_SRT,
                "1\n00:00:00,000 --> 00:00:02,000\n<u>今日は天</u>\n<u>気が</u>いい。\n\n"
                "2\n00:00:02,000 --> 00:00:03,000\n今日は天\n気が<u>いい。</u>\n\n");
}

static void highlighting_needs_words(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(cues_check(&transcript, &options, &e), 0);
    add(0, 1, " x");
    assert_int_equal(cues_check(&transcript, &options, &e), 0);
    options.highlight_words = true;
    assert_int_equal(cues_check(&transcript, &options, &e), ERR_STATE);
    assert_non_null(strstr(e.message, "word_timestamps"));
    ADD_WORDS({" a", 0, 1});
    assert_int_equal(cues_check(&transcript, &options, &e), 0);
}

static void raw_means_the_segments(void **state)
{
    (void)state;
    options.raw_subtitles = true;
    add(0, 30, " a  b");
    add(29, 28, " c");
    expect_file(FORMAT_VTT, "WEBVTT\n\n00:00.000 --> 00:30.000\na  b\n\n"
                            "00:29.000 --> 00:29.000\nc\n\n");
}

/* ---- whatever the text ------------------------------------------------------------ */

static uint64_t random_state = 0x9E3779B97F4A7C15u;

static uint64_t random_below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static void random_text(char *out, size_t size)
{
    static const char *const bits[] = {"a",     "word",     "extraordinarily",
                                       ",",     ".",        "!",
                                       "。",    "、",       "「",
                                       "」",    "日",       "本",
                                       "語",    "ラー",     "สวัสดี",
                                       "ไทย",   "한국",     "말",
                                       "مرحبا", "👍🏽", "é",
                                       "-",     "—",        "«",
                                       "»",     " ",        " ",
                                       " ",     " ",        " ",
                                       " ",     " ",        "--> ",
                                       "(",     ")",        "http://x.y/z",
                                       "3",     "%",        "\n",
                                       "\xFF"};
    size_t count = random_below(60);
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(out);
        snprintf(out + length, size - length, "%s",
                 bits[random_below(sizeof bits / sizeof *bits)]);
    }
}

/* Without white space, as it should come out again. */
static void essence(const char *text, struct buf *out)
{
    struct buf b;
    buf_init(&b, 100000);
    (void)text_cue(&b, text, false);
    for (const char *p = buf_cstr(&b); *p;) {
        uint32_t c = text_next(&p);
        if (!text_is_space(c))
            text_put(out, c);
    }
    buf_release(&b);
}

static void check_cues(const char *all)
{
    struct buf text;
    int64_t before = -1;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < cues.count; i++) {
        const struct cue *c = &cues.list[i];
        assert_true(c->start_ms >= before && c->end_ms > c->start_ms);
        assert_true(c->end_ms - c->start_ms <=
                    llrint(1000.0 * (double)options.max_cue_duration));
        int lines = 1;
        for (const char *p = c->text; *p; p++)
            lines += *p == '\n';
        assert_true(lines <= options.max_line_count);
        assert_true(*c->text && !strstr(c->text, "\n\n") && !strstr(c->text, "-->"));
        essence(c->text, &text);
        before = c->end_ms;
        for (size_t w = 0; w < c->n_words; w++) {
            assert_true(c->words[w].from < c->words[w].to);
            assert_true(c->words[w].to <= strlen(c->text));
            assert_true(!w || c->words[w].from >= c->words[w - 1].to);
        }
    }
    assert_string_equal(buf_cstr(&text), all);
    buf_release(&text);
}

static void nothing_is_lost_and_no_rule_is_broken(void **state)
{
    (void)state;
    char text[4000];
    struct buf all;
    buf_init(&all, 1 << 20);
    for (int round = 0; round < 400; round++) {
        transcript_release(&transcript);
        buf_reset(&all);
        options.max_line_width = 8 + (int)random_below(50);
        options.max_line_count = 1 + (int)random_below(3);
        options.max_words_per_line = random_below(4) ? 0 : 1 + (int)random_below(5);
        double at = 0;
        for (uint64_t n = random_below(8); n; n--) {
            random_text(text, sizeof text);
            essence(text, &all);
            double length = (double)random_below(300) / 10;
            const struct said whole = {text, at, at + length};
            add_said(at, at + length, text, &whole, random_below(2));
            at += length + (double)random_below(30) / 10 - 0.2;
            at = at < 0 ? 0 : at;
        }
        build();
        check_cues(buf_cstr(&all));
    }
    buf_release(&all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(short_cues_stand_as_long_as_there_is_time),
        TEST(reading_takes_time),
        TEST(the_last_cue_ends_with_the_recording),
        TEST(nothing_stands_too_long),
        TEST(cues_keep_their_distance),
        TEST(overlaps_and_backward_times_are_put_in_order),
        TEST(a_long_segment_is_divided_in_proportion),
        TEST(division_prefers_the_ends_of_sentences),
        TEST(division_follows_the_words),
        TEST(words_of_another_text_are_not_believed),
        TEST(words_stay_within_their_segment),
        TEST(empty_segments_give_no_cue),
        TEST(limits_are_kept),
        TEST(arrows_and_markup_stay_text),
        TEST(each_word_is_underlined_in_its_time),
        TEST(a_word_on_two_lines_is_underlined_on_both),
        TEST(highlighting_needs_words),
        TEST(raw_means_the_segments),
        TEST(nothing_is_lost_and_no_rule_is_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
