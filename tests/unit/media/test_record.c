/* The child's record: one byte out of order, and it is not believed. And the names of
 * formats, which come from the settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "media/decode.h"
#include "media/formats.h"
#include "media/record.h"
#include "media/sniff.h"

static void good_record(struct record *r)
{
    record_init(r);
    r->samples = 16000;
    r->channels = 2;
    r->rate = 44100;
    r->flags = RECORD_TRUNCATED;
    memcpy(r->container, "wav", 4);
    memcpy(r->codec, "pcm_s16le", 10);
}

static void a_good_record_is_believed(void **state)
{
    (void)state;
    struct record r, out;
    good_record(&r);
    assert_true(record_check(&r, sizeof r, &out));
    assert_memory_equal(&r, &out, sizeof r);
    record_init(&r);
    r.code = ERR_CORRUPT;
    snprintf(r.message, sizeof r.message, "sch\xC3\xB6n \xE2\x82\xAC \xF0\x9F\x8E\xB5");
    assert_true(record_check(&r, sizeof r, &out));
}

static void lengths_must_fit(void **state)
{
    (void)state;
    struct record r[2], out;
    good_record(&r[0]);
    for (size_t length = 0; length <= sizeof r; length++)
        assert_int_equal(record_check(r, length, &out), length == sizeof r[0]);
}

static void fields_must_make_sense(void **state)
{
    (void)state;
    struct record r, out;
#define REFUSED(change)                                                                  \
    do {                                                                                 \
        good_record(&r);                                                                 \
        change;                                                                          \
        assert_false(record_check(&r, sizeof r, &out));                                  \
    } while (0)
    REFUSED(r.magic++);
    REFUSED(r.end ^= 1);
    REFUSED(r.reserved = 1);
    REFUSED(r.flags = 2);
    REFUSED(r.code = 1);
    REFUSED(r.code = ERR_CRASH);
    REFUSED(r.code = ERR_CORRUPT); /* without a sentence */
    REFUSED(r.samples = 0);
    REFUSED(r.channels = -1);
    REFUSED(r.channels = MEDIA_MAX_CHANNELS + 1);
    REFUSED(r.rate = -1);
    REFUSED(r.rate = INT32_MAX);
    REFUSED(memset(r.container, 'a', sizeof r.container));
    REFUSED(memset(r.codec, 'a', sizeof r.codec));
    REFUSED(r.container[1] = ' ');
    REFUSED(r.codec[0] = '\x1B');
    REFUSED(r.message[0] = 'x'); /* success with a complaint */
    static const char *const bad[] = {
        "a\nb",         "\x1B[31m",         "\x7F",     "\xC2\x85", "\xC0\x80",
        "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\xFF",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(r.code = ERR_CORRUPT;
                snprintf(r.message, sizeof r.message, "%s", bad[i]));
    REFUSED(r.code = ERR_CORRUPT; memset(r.message, 'x', sizeof r.message));
#undef REFUSED
}

static void format_names_are_checked(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(media_formats_check(NULL, &e), 0);
    assert_int_equal(
        media_formats_check("mp3,wav,m4a,flac,ogg,opus,webm,mp4,mkv,mov,amr,aiff,"
                            "wma,aac",
                            &e),
        0);
    assert_int_equal(media_formats_check(" .MP3 , oga,", &e), 0);
    assert_int_equal(media_formats_check("mp3,mp5", &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "\"mp5\""));
    assert_int_equal(media_formats_check("a-name-that-is-longer-than-any", &e),
                     ERR_INVALID);
    assert_int_equal(media_formats_check("", &e), ERR_INVALID);
    assert_int_equal(media_formats_check(",,", &e), ERR_INVALID);
}

static void content_decides(void **state)
{
    (void)state;
    static const struct {
        struct formats_subject subject;
        const char *allowed;
        int code;
    } cases[] = {
        {{"mov,mp4,m4a,3gp,3g2,mj2", "aac", false,
          (const uint8_t *)"\0\0\0\x20"
                           "ftypM4A ",
          12},
         "m4a",
         0},
        {{"mov,mp4,m4a,3gp,3g2,mj2", "aac", false,
          (const uint8_t *)"\0\0\0\x20"
                           "ftypisom",
          12},
         "m4a",
         0},
        {{"mov,mp4,m4a,3gp,3g2,mj2", "aac", true,
          (const uint8_t *)"\0\0\0\x20"
                           "ftypisom",
          12},
         "m4a",
         ERR_UNSUPPORTED},
        {{"mov,mp4,m4a,3gp,3g2,mj2", "aac", true,
          (const uint8_t *)"\0\0\0\x20"
                           "ftypisom",
          12},
         "m4v",
         0},
        {{"mov,mp4,m4a,3gp,3g2,mj2", "aac", true,
          (const uint8_t *)"\0\0\0\x20"
                           "ftypqt  ",
          12},
         "mp4",
         ERR_UNSUPPORTED},
        {{"mov,mp4,m4a,3gp,3g2,mj2", "aac", true,
          (const uint8_t *)"\0\0\0\x20"
                           "ftypqt  ",
          12},
         "mov",
         0},
        {{"mov,mp4,m4a,3gp,3g2,mj2", "aac", true,
          (const uint8_t *)"\0\0\0\x20"
                           "moov",
          8},
         "mov",
         0},
        {{"matroska,webm", "opus", false,
          (const uint8_t *)"\x1A\x45\xDF\xA3\x42\x82\x84webm", 11},
         "webm",
         0},
        {{"matroska,webm", "opus", false,
          (const uint8_t *)"\x1A\x45\xDF\xA3\x42\x82\x84webm", 11},
         "mkv",
         0},
        {{"matroska,webm", "opus", false, (const uint8_t *)"\x1A\x45\xDF\xA3", 4},
         "webm",
         ERR_UNSUPPORTED},
        {{"ogg", "opus", false, NULL, 0}, "opus", 0},
        {{"ogg", "vorbis", false, NULL, 0}, "opus", ERR_UNSUPPORTED},
        {{"ogg", "vorbis", false, NULL, 0}, "oga", 0},
        {{"asf", "wmav2", false, NULL, 0}, "wma", 0},
        {{"asf", "wmav2", true, NULL, 0}, "wma", ERR_UNSUPPORTED},
        {{"mp3", "mp3", false, NULL, 0}, "wav,mp3", 0},
        {{"mp3", "mp3", false, NULL, 0}, "wav", ERR_UNSUPPORTED},
        {{"mp3", "mp3", false, NULL, 0}, NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = formats_admit(&cases[i].subject, cases[i].allowed, NULL);
        if (code != cases[i].code)
            print_error("case %zu\n", i);
        assert_int_equal(code, cases[i].code);
    }
    static const char *const never[] = {"hls", "concat", "image2",   "ffmetadata",
                                        "srt", "sdp",    "dash",     "lavfi",
                                        "tty", "rtsp",   "applehttp"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        assert_false(formats_demuxer_allowed(never[i]));
}

static void short_input_is_not_overread(void **state)
{
    (void)state;
    const char *text = "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd --> \n";
    for (size_t n = 0; n <= strlen(text); n++) {
        uint8_t *exact = calloc(1, n ? n : 1);
        memcpy(exact, text, n);
        const char *name = sniff_name(exact, n);
        assert_true(n > 0 || !name);
        if (n >= 7)
            assert_non_null(strstr(name, "playlist"));
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_record_is_believed),
        cmocka_unit_test(lengths_must_fit),
        cmocka_unit_test(fields_must_make_sense),
        cmocka_unit_test(format_names_are_checked),
        cmocka_unit_test(content_decides),
        cmocka_unit_test(short_input_is_not_overread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
