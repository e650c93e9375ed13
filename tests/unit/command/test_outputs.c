#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "command/outputs.h"

static const struct cue_options subtitles = {.raw_subtitles = true};

static void formats_are_a_list(void **state)
{
    (void)state;
    struct outputs o = {.folder = NULL};
    struct err e = {0};
    assert_int_equal(outputs_parse_formats(&o, "srt,JSON", &e), 0);
    assert_true(o.wanted[FORMAT_SRT] && o.wanted[FORMAT_JSON] && !o.wanted[FORMAT_TXT]);
    assert_int_equal(outputs_parse_formats(&o, "all", &e), 0);
    for (int i = 0; i < FORMAT_COUNT; i++)
        assert_true(o.wanted[i]);
    static const char *const bad[] = {"",     "doc",     "srt,",
                                      ",srt", "srt,doc", "txtxtxtxtxtxtxtxtxtxt"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(outputs_parse_formats(&o, bad[i], &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "txt, srt, vtt, tsv, json"));
}

static void two_inputs_never_share_a_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/outputs.XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct outputs o = {.folder = folder, .wanted[FORMAT_TXT] = true};
    struct err e = {0};
    char a[] = "a/talk.mp3", b[] = "b/talk.wav", c[] = "b/other.wav", hidden[] = ".mp3";
    char *same[] = {a, c, b}, *different[] = {a, c, hidden};
    assert_int_equal(outputs_prepare(&o, same, 3, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "a/talk.mp3"));
    assert_int_equal(outputs_prepare(&o, different, 3, &e), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing was left in it */
}

static void a_file_is_named_after_its_input(void **state)
{
    (void)state;
    char folder[] = "/tmp/outputs.XXXXXX", path[100];
    assert_non_null(mkdtemp(folder));
    struct outputs o = {.folder = folder, .wanted[FORMAT_VTT] = true};
    struct transcript t;
    transcript_init(&t);
    static const char *const inputs[] = {"/x/y/talk.one.mp3", "-", "../..", ".mp3"};
    static const char *const names[] = {"talk.one.vtt", "stdin.vtt", "..vtt", ".mp3.vtt"};
    for (int i = 0; i < 4; i++) {
        struct err e = {0};
        assert_int_equal(outputs_write(&o, inputs[i], &t, &subtitles, &e), 0);
        assert_int_equal(outputs_write(&o, inputs[i], &t, &subtitles, &e),
                         0); /* replaces it */
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        struct buf text;
        buf_init(&text, 100);
        assert_int_equal(fs_read(path, &text, &e), 0);
        assert_string_equal(buf_cstr(&text), "WEBVTT\n\n");
        buf_release(&text);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

static void several_formats_need_a_folder(void **state)
{
    (void)state;
    struct outputs o = {.wanted[FORMAT_TXT] = true, .wanted[FORMAT_SRT] = true};
    struct err e = {0};
    char a[] = "a.mp3";
    char *inputs[] = {a};
    assert_int_equal(outputs_prepare(&o, inputs, 1, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "--output-dir"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_a_list),
        cmocka_unit_test(two_inputs_never_share_a_file),
        cmocka_unit_test(a_file_is_named_after_its_input),
        cmocka_unit_test(several_formats_need_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
