/* The exact bytes of every format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/cues.h"

static void add(struct transcript *t, double start, double end, const char *text)
{
    char copy[200];
    snprintf(copy, sizeof copy, "%s", text);
    int32_t tokens[] = {50364, 400, 50464};
    struct transcript_segment s = {.id = (int)t->n_segments,
                                   .seek = 3000 * (int64_t)t->n_segments,
                                   .start = start,
                                   .end = end,
                                   .text = copy,
                                   .tokens = tokens,
                                   .n_tokens = 3,
                                   .temperature = 0.2f,
                                   .avg_logprob = -0.25f,
                                   .compression_ratio = 1.6f,
                                   .no_speech_prob = 0.0125f};
    assert_int_equal(transcript_add(t, &s), 0);
}

static int make(void **state)
{
    struct transcript *t = calloc(1, sizeof *t);
    transcript_init(t);
    snprintf(t->task, sizeof t->task, "transcribe");
    snprintf(t->model, sizeof t->model, "tiny");
    snprintf(t->language, sizeof t->language, "en");
    snprintf(t->language_name, sizeof t->language_name, "english");
    t->language_probability = 0.987;
    t->duration = 360003.5;
    add(t, 0, 2.5, " And so my fellow Americans,");
    add(t, 2.5, 3.0, " \n\t ");
    add(t, 3.0004, 61.9996, " a\tb --> c\r\nd <i>&amp; e\x01");
    add(t, 3723.004, 360000.5, "caf\xC3\xA9 \xE3\x80\x82\xE3\x80\x80");
    *state = t;
    return 0;
}

static int drop(void **state)
{
    transcript_release(*state);
    free(*state);
    return 0;
}

static void expect(const struct transcript *t, enum format f, const char *bytes)
{
    struct cue_options raw = {.raw_subtitles = true}; /* cues have tests of their own */
    struct buf out;
    buf_init(&out, 65536);
    assert_int_equal(format_write_as(f, t, &raw, &out), 0);
    assert_string_equal(buf_cstr(&out), bytes);
    buf_release(&out);
}

static void txt_is_a_line_per_segment(void **state)
{
    expect(*state, FORMAT_TXT,
           "And so my fellow Americans,\n"
           "a b --> c  d <i>&amp; e\n"
           "caf\xC3\xA9 \xE3\x80\x82\n");
}

static void srt_has_numbers_and_commas(void **state)
{
    expect(*state, FORMAT_SRT,
           "1\n00:00:00,000 --> 00:00:02,500\nAnd so my fellow Americans,\n\n"
           "2\n00:00:03,000 --> 00:01:02,000\na b -> c  d <i>&amp; e\n\n"
           "3\n01:02:03,004 --> 100:00:00,500\ncaf\xC3\xA9 \xE3\x80\x82\n\n");
}

static void vtt_escapes_markup(void **state)
{
    expect(*state, FORMAT_VTT,
           "WEBVTT\n\n"
           "00:00.000 --> 00:02.500\nAnd so my fellow Americans,\n\n"
           "00:03.000 --> 01:02.000\na b -> c  d &lt;i>&amp;amp; e\n\n"
           "01:02:03.004 --> 100:00:00.500\ncaf\xC3\xA9 \xE3\x80\x82\n\n");
}

static void tsv_has_milliseconds(void **state)
{
    expect(*state, FORMAT_TSV,
           "start\tend\ttext\n"
           "0\t2500\tAnd so my fellow Americans,\n"
           "3000\t62000\ta b --> c  d <i>&amp; e\n"
           "3723004\t360000500\tcaf\xC3\xA9 \xE3\x80\x82\n");
}

#define NUMBERS                                                                          \
    "\"tokens\": [50364, 400, 50464], \"temperature\": 0.2, \"avg_logprob\": -0.25, "    \
    "\"compression_ratio\": 1.6, \"no_speech_prob\": 0.0125}"

static void json_holds_everything(void **state)
{
    struct transcript *t = *state;
    snprintf(t->warning, sizeof t->warning, "cut \"short\"");
    expect(t, FORMAT_JSON,
           "{\"text\": \"And so my fellow Americans, \\n\\t  a\\tb --> c\\u000d\\nd "
           "<i>&amp; e\\u0001caf\xC3\xA9 \xE3\x80\x82\",\n"
           "\"segments\": [\n"
           "{\"id\": 0, \"seek\": 0, \"start\": 0.0, \"end\": 2.5, "
           "\"text\": \" And so my fellow Americans,\", " NUMBERS ",\n"
           "{\"id\": 1, \"seek\": 3000, \"start\": 2.5, \"end\": 3.0, "
           "\"text\": \" \\n\\t \", " NUMBERS ",\n"
           "{\"id\": 2, \"seek\": 6000, \"start\": 3.0004, \"end\": 61.9996, "
           "\"text\": \" a\\tb --> c\\u000d\\nd <i>&amp; e\\u0001\", " NUMBERS ",\n"
           "{\"id\": 3, \"seek\": 9000, \"start\": 3723.004, \"end\": 360000.5, "
           "\"text\": \"caf\xC3\xA9 \xE3\x80\x82\xE3\x80\x80\", " NUMBERS "],\n"
           "\"language\": \"en\", \"language_name\": \"english\", "
           "\"language_probability\": 0.987, \"duration\": 360003.5, "
           "\"task\": \"transcribe\", \"model\": \"tiny\", "
           "\"warning\": \"cut \\\"short\\\"\"}\n");
}

static void nothing_said_is_an_empty_file(void **state)
{
    (void)state;
    struct transcript t;
    transcript_init(&t);
    expect(&t, FORMAT_TXT, "");
    expect(&t, FORMAT_SRT, "");
    expect(&t, FORMAT_VTT, "WEBVTT\n\n");
    expect(&t, FORMAT_TSV, "start\tend\ttext\n");
    expect(&t, FORMAT_JSON,
           "{\"text\": \"\",\n\"segments\": [],\n\"language\": \"\", "
           "\"language_name\": \"\", \"language_probability\": 0.0, \"duration\": 0.0, "
           "\"task\": \"\", \"model\": \"\"}\n");
}

static void a_cue_never_ends_before_it_begins(void **state)
{
    (void)state;
    struct transcript t;
    transcript_init(&t);
    add(&t, 5, 4, "x");
    add(&t, -1, -0.5, "y");
    expect(&t, FORMAT_SRT,
           "1\n00:00:05,000 --> 00:00:05,000\nx\n\n"
           "2\n00:00:00,000 --> 00:00:00,000\ny\n\n");
    transcript_release(&t);
}

static void a_buffer_that_is_too_small_is_an_error(void **state)
{
    for (int f = 0; f < FORMAT_COUNT; f++) {
        struct buf out;
        buf_init(&out, 60);
        assert_int_equal(format_write((enum format)f, *state, &out), ERR_NOMEM);
        buf_release(&out);
    }
}

static void names_are_known(void **state)
{
    (void)state;
    enum format f = FORMAT_COUNT;
    assert_true(format_parse("SRT", &f));
    assert_int_equal(f, FORMAT_SRT);
    assert_false(format_parse("doc", &f));
    assert_false(format_parse("", &f));
    assert_string_equal(format_extension(FORMAT_VTT), "vtt");
    assert_string_equal(format_content_type(FORMAT_TXT), "text/plain; charset=utf-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(txt_is_a_line_per_segment, make, drop),
        cmocka_unit_test_setup_teardown(srt_has_numbers_and_commas, make, drop),
        cmocka_unit_test_setup_teardown(vtt_escapes_markup, make, drop),
        cmocka_unit_test_setup_teardown(tsv_has_milliseconds, make, drop),
        cmocka_unit_test_setup_teardown(json_holds_everything, make, drop),
        cmocka_unit_test(nothing_said_is_an_empty_file),
        cmocka_unit_test(a_cue_never_ends_before_it_begins),
        cmocka_unit_test_setup_teardown(a_buffer_that_is_too_small_is_an_error, make,
                                        drop),
        cmocka_unit_test(names_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
