/* What is no recording, or only half of one: the exact code and a sentence that helps. */
#include "support.h"

#include "base/fs.h"

#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

static void expect(const void *bytes, size_t length, int code, const char *words)
{
    struct decoded d;
    support_decode_bytes(bytes, length, NULL, &d);
    support_expect(&d, code, words);
}

static void expect_text(const char *text, int code, const char *words)
{
    expect(text, strlen(text), code, words);
}

static void plain_wav(struct buf *wav, double seconds)
{
    struct support_wav w = {SAMPLE_S16, 16000, 1, seconds, -1, 0, 0};
    support_wav(&w, wav);
}

static void not_media_is_named(void **state)
{
    (void)state;
    expect("", 0, ERR_NOT_MEDIA, "empty");
    expect_text("Dear Sir,\nthis is a letter that somebody calls letter.mp3.\n",
                ERR_NOT_MEDIA, "text");
    expect_text("\xEF\xBB\xBF"
                "1\n00:00:01,000 --> 00:00:02,000\nHello\n",
                ERR_NOT_MEDIA, "subtitle");
    expect_text("WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n", ERR_NOT_MEDIA, "subtitle");
    expect_text("<!DOCTYPE html><html><body>Not found</body></html>", ERR_NOT_MEDIA,
                "web page");
    expect("PK\x03\x04\x14\0\0\0\x08\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 44,
           ERR_NOT_MEDIA, "ZIP");
    expect("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\2\0\0\0", 29,
           ERR_NOT_MEDIA, "picture");
    expect("\xFF\xD8\xFF\xE0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0", 20, ERR_NOT_MEDIA,
           "picture");
    expect_text("%PDF-1.7\n", ERR_NOT_MEDIA, "PDF");
    expect("\0", 1, ERR_NOT_MEDIA, "neither audio nor video");
}

/* A text that names other files or addresses is never followed. */
static void playlists_are_not_followed(void **state)
{
    (void)state;
    struct buf wav;
    plain_wav(&wav, 1);
    support_write("secret.wav", wav.data, wav.length);
    char text[600];
    const char *secret = support_path("secret.wav");
    snprintf(text, sizeof text,
             "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n"
             "file://%s\n#EXT-X-ENDLIST\n",
             secret);
    expect_text(text, ERR_NOT_MEDIA, "playlist");
    snprintf(text, sizeof text, "ffconcat version 1.0\nfile '%s'\n", secret);
    expect_text(text, ERR_NOT_MEDIA, "concat");
    snprintf(text, sizeof text, "file '%s'\n", secret);
    expect_text(text, ERR_NOT_MEDIA, "concat");
    expect_text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
                "m=audio 5004 RTP/AVP 0\n",
                ERR_NOT_MEDIA, "stream description");
    expect_text("<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"></MPD>",
                ERR_NOT_MEDIA, "playlist");
    buf_release(&wav);
}

static void wav_without_sound(void **state)
{
    (void)state;
    struct buf wav;
    plain_wav(&wav, 0);
    expect(wav.data, wav.length, ERR_NO_AUDIO, "holds no sound");
    expect(wav.data, 40, ERR_CORRUPT, "header");
    buf_release(&wav);
}

static void one_sample_is_a_recording(void **state)
{
    (void)state;
    struct buf wav;
    struct decoded d;
    plain_wav(&wav, 1.0 / 16000);
    support_decode_bytes(wav.data, wav.length, NULL, &d);
    assert_int_equal(d.code, 0);
    assert_int_equal(d.pcm.count, 1);
    pcm_release(&d.pcm);
    buf_release(&wav);
}

/* Put `bytes` into `out` at `at`. */
static void insert(struct buf *out, const struct buf *in, size_t at, const void *bytes,
                   size_t length)
{
    buf_init(out, in->length + length);
    buf_add(out, in->data, at);
    buf_add(out, bytes, length);
    buf_add(out, in->data + at, in->length - at);
}

static void expect_like(const struct decoded *want, const struct buf *file)
{
    struct decoded d;
    support_decode_bytes(file->data, file->length, NULL, &d);
    assert_int_equal(d.code, 0);
    assert_int_equal(d.pcm.count, want->pcm.count);
    assert_memory_equal(d.pcm.samples, want->pcm.samples, d.pcm.count * sizeof(float));
    assert_memory_equal(&d.info, &want->info, sizeof d.info);
    pcm_release(&d.pcm);
}

/* What needs no decoding does not pass through FFmpeg, and comes out as if it had: two
 * more bytes in the format, or a chunk that nobody knows, and it does. */
static void plain_wav_is_read_as_ffmpeg_reads_it(void **state)
{
    (void)state;
    struct buf wav, other;
    struct decoded d;
    plain_wav(&wav, 2.5);
    for (size_t i = 44; i + 1 < wav.length; i += 2) /* every value that there is */
        wav.data[i] = (char)(i * 3), wav.data[i + 1] = (char)(i >> 6);
    support_decode_bytes(wav.data, wav.length, NULL, &d);
    assert_int_equal(d.code, 0);
    assert_int_equal(d.pcm.count, 40000);
    insert(&other, &wav, 36, "\0\0", 2);
    other.data[16] = 18;
    expect_like(&d, &other);
    buf_release(&other);
    insert(&other, &wav, 36, "LIST\3\0\0\0abc\0", 12);
    expect_like(&d, &other);
    buf_release(&other);
    insert(&other, &wav, wav.length, "LIST\4\0\0\0abcd", 12);
    expect_like(&d, &other);
    buf_release(&other);
    /* A length that was not known when the header was written. */
    insert(&other, &wav, 0, "", 0);
    memset(other.data + 4, 0xFF, 4);
    memset(other.data + 40, 0xFF, 4);
    expect_like(&d, &other);
    buf_release(&other);
    insert(&other, &wav, 36, "odd \3\0\0\0abc\0", 12);
    expect_like(&d, &other);
    buf_release(&other);
    pcm_release(&d.pcm);
    buf_release(&wav);
}

static void cut_wav_gives_what_is_there(void **state)
{
    (void)state;
    struct buf wav;
    struct decoded d;
    plain_wav(&wav, 4);
    support_decode_bytes(wav.data, wav.length / 2, NULL, &d);
    assert_int_equal(d.code, 0);
    assert_true(d.info.truncated);
    assert_true(fabs(d.info.seconds - 2) < 0.01);
    pcm_release(&d.pcm);
    buf_release(&wav);
}

static void not_a_number_is_silence(void **state)
{
    (void)state;
    struct support_wav w = {SAMPLE_F32, 44100, 1, 1, -1, 0, 0};
    struct buf wav;
    struct decoded d;
    support_wav(&w, &wav);
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e38f, -3.4e38f};
    for (int i = 0; i < 200; i++)
        memcpy(wav.data + 44 + 4 * (100 + 97 * i), &odd[i % 5], 4);
    support_decode_bytes(wav.data, wav.length, NULL, &d);
    assert_int_equal(d.code, 0);
    for (size_t i = 0; i < d.pcm.count; i++)
        assert_true(d.pcm.samples[i] >= -1 && d.pcm.samples[i] <= 1);
    int shift;
    assert_true(support_likeness(&d.pcm, 4, &shift) > 0.9);
    pcm_release(&d.pcm);
    for (size_t i = 44; i + 4 <= wav.length; i += 4)
        memcpy(wav.data + i, &odd[0], 4);
    support_decode_bytes(wav.data, wav.length, NULL, &d);
    assert_int_equal(d.code, 0);
    for (size_t i = 0; i < d.pcm.count; i++)
        assert_true(d.pcm.samples[i] == 0);
    pcm_release(&d.pcm);
    buf_release(&wav);
}

/* Random bytes in which what begins an MP3 frame is common. */
static void sync_words_are_no_recording(void **state)
{
    (void)state;
    unsigned char bytes[60000];
    unsigned seed = 7;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
    for (size_t i = 0; i + 1 < sizeof bytes; i += 417) {
        bytes[i] = 0xFF;
        bytes[i + 1] = 0xFB;
    }
    struct decoded d;
    support_decode_bytes(bytes, sizeof bytes, NULL, &d);
    assert_true(d.code == ERR_NOT_MEDIA || d.code == ERR_CORRUPT);
    assert_true(strlen(d.err.message) > 20);
}

static void set_be(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
}

static void too_long_is_refused(void **state)
{
    (void)state;
    struct media_limits limits;
    struct decoded d;
    struct buf wav;
    media_limits_init(&limits);
    limits.max_seconds = 2;
    plain_wav(&wav, 2);
    support_decode_bytes(wav.data, wav.length, &limits, &d);
    support_expect(&d, 0, "");
    buf_release(&wav);
    plain_wav(&wav, 2.2);
    support_decode_bytes(wav.data, wav.length, &limits, &d);
    support_expect(&d, ERR_TOO_LARGE, "longer than the limit of 2 seconds");
    buf_release(&wav);
    plain_wav(&wav, 9);
    support_decode_bytes(wav.data, wav.length, &limits, &d);
    support_expect(&d, ERR_TOO_LARGE, "9 seconds long, and the limit is 2 seconds");
    buf_release(&wav);
}

/* Ten hours that are there (in a sparse file), against eight that are allowed; and the
 * same behind a header that says nothing of it. */
static void ten_hours(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct support_wav w = {SAMPLE_U8, 8000, 1, 0, -1, 0, streamed ? 0xFFFFFFFF : 0};
        struct buf wav;
        struct decoded d;
        struct media_limits limits;
        support_wav(&w, &wav);
        if (!streamed) {
            const uint32_t bytes = 36000 * 8000;
            memcpy(wav.data + 40, &bytes, 4);
        }
        support_write("long.wav", wav.data, wav.length);
        assert_int_equal(truncate(support_path("long.wav"), 44 + 36000 * 8000), 0);
        media_limits_init(&limits);
        if (streamed)
            limits.max_seconds = 300;
        support_decode("long.wav", &limits, &d);
        support_expect(&d, ERR_TOO_LARGE,
                       streamed ? "longer than the limit of 300 seconds"
                                : "10 hours long, and the limit is 8 hours");
        buf_release(&wav);
    }
}

/* Recorders that write to a pipe claim the longest length there is. */
static void a_claim_beyond_the_file_is_not_believed(void **state)
{
    (void)state;
    static const uint32_t claims[] = {0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000};
    for (size_t i = 0; i < 4; i++) {
        struct support_wav w = {SAMPLE_S16, 16000, 1, 1, -1, 0, claims[i]};
        struct buf wav;
        struct decoded d;
        support_wav(&w, &wav);
        support_decode_bytes(wav.data, wav.length, NULL, &d);
        if (d.code)
            print_error("%x: %s\n", claims[i], d.err.message);
        assert_int_equal(d.code, 0);
        assert_int_equal(d.pcm.count, 16000);
        assert_false(d.info.truncated);
        pcm_release(&d.pcm);
        buf_release(&wav);
    }
}

static void allowed_formats_go_by_content(void **state)
{
    (void)state;
    struct media_limits limits;
    struct decoded d;
    struct buf wav;
    media_limits_init(&limits);
    plain_wav(&wav, 0.5);
    static const struct {
        const char *formats;
        int code;
        const char *words;
    } cases[] = {
        {"wav", 0, ""},
        {"mp3, .WAVE", 0, ""},
        {"mp3,m4a", ERR_UNSUPPORTED,
         "wav (pcm_s16le), which is not among the allowed "
         "formats: mp3,m4a"},
        {"mp3,exe", ERR_INVALID, "\"exe\""},
        {" , ", ERR_INVALID, "empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        limits.formats = cases[i].formats;
        support_decode_bytes(wav.data, wav.length, &limits, &d);
        support_expect(&d, cases[i].code, cases[i].words);
    }
    buf_release(&wav);
}

/* The limit is above what the libraries take; a sanitizer's shadow defies it. */
static void memory_is_limited(void **state)
{
    (void)state;
    if (MEDIA_SANITIZED)
        skip();
    struct media_limits limits;
    struct decoded d;
    struct buf wav;
    media_limits_init(&limits);
    limits.memory_bytes = 1 << 20;
    const struct support_wav w = {SAMPLE_S16, 48000, 1, 0.5, -1, 0, 0};
    support_wav(&w, &wav);
    support_decode_bytes(wav.data, wav.length, &limits, &d);
    support_expect(&d, ERR_TOO_LARGE, "more memory");
    buf_release(&wav);
}

static void not_a_file(void **state)
{
    (void)state;
    struct media_limits limits;
    struct pcm pcm;
    struct media_info info;
    struct err e;
    media_limits_init(&limits);
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ends[2];
    assert_int_equal(media_decode(fd, &limits, &pcm, &info, &e), ERR_NOT_MEDIA);
    assert_non_null(strstr(e.message, "folder"));
    close(fd);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(media_decode(ends[0], &limits, &pcm, &info, &e), ERR_INVALID);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(media_decode(-1, &limits, &pcm, &info, &e), ERR_IO);
    assert_null(pcm.samples);
}

/* A pipe is spooled; what is beyond the limit is refused. */
static void spooled_input(void **state)
{
    (void)state;
    struct buf wav;
    struct err e;
    plain_wav(&wav, 0.5);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fs_write_all(ends[1], wav.data, wav.length, NULL), 0);
    close(ends[1]);
    int fd = media_spool(ends[0], NULL, wav.length, &e);
    assert_true(fd >= 0);
    struct media_limits limits;
    struct decoded d;
    media_limits_init(&limits);
    assert_int_equal(media_decode(fd, &limits, &d.pcm, &d.info, &d.err), 0);
    assert_int_equal(d.pcm.count, 8000);
    pcm_release(&d.pcm);
    close(fd);
    close(ends[0]);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fs_write_all(ends[1], wav.data, wav.length, NULL), 0);
    close(ends[1]);
    assert_int_equal(media_spool(ends[0], NULL, wav.length - 1, &e), ERR_TOO_LARGE);
    close(ends[0]);
    assert_int_equal(media_spool(-1, NULL, 10, &e), ERR_IO);
    assert_int_equal(media_spool(0, "/nonexistent/folder", 10, &e), ERR_NOT_FOUND);
    buf_release(&wav);
}

/* FLAC's header gives the number of samples in 36 bits at byte 21. */
static void claimed_hours_are_refused_at_once(void **state)
{
    (void)state;
    if (!support_ffmpeg("-c:a flac claim.flac"))
        skip();
    struct buf flac;
    struct decoded d;
    support_read("claim.flac", &flac);
    unsigned char *at = (unsigned char *)flac.data + 21;
    set_be(at, (uint64_t)(at[0] & 0xF0) << 32 | (uint64_t)36000 * 48000, 5);
    support_decode_bytes(flac.data, flac.length, NULL, &d);
    support_expect(&d, ERR_TOO_LARGE, "10 hours long");
    set_be(at, (uint64_t)(at[0] & 0xF0) << 32 | (uint64_t)60 * 48000, 5);
    support_decode_bytes(flac.data, flac.length, NULL, &d);
    assert_int_equal(d.code, 0);
    assert_true(d.info.truncated);
    pcm_release(&d.pcm);
    /* and a header that claims less than is there hides nothing */
    struct media_limits limits;
    media_limits_init(&limits);
    limits.max_seconds = 2;
    set_be(at, (uint64_t)(at[0] & 0xF0) << 32 | (uint64_t)48000, 5);
    support_decode_bytes(flac.data, flac.length, &limits, &d);
    support_expect(&d, ERR_TOO_LARGE, "longer than the limit");
    buf_release(&flac);
}

static void cut_files(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        int code;
        const char *sentence;
    } cases[] = {
        {"-c:a aac cut.m4a", ERR_CORRUPT, "moov"},
        {"-c:a aac -movflags +faststart cut.mp4", 0, ""},
        {"-c:a libmp3lame cut.mp3", 0, ""},
        {"-c:a libvorbis cut.ogg", 0, ""},
        {"-c:a libopus cut.opus", 0, ""},
        {"-c:a flac cut.flac", 0, ""},
        {"-c:a libopus cut.webm", 0, ""},
        {"-c:a wmav2 cut.wma", 0, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!support_ffmpeg(cases[i].words)) {
            printf("left out: ffmpeg %s\n", cases[i].words);
            continue;
        }
        struct buf whole;
        struct decoded d;
        support_read(strrchr(cases[i].words, ' ') + 1, &whole);
        support_decode_bytes(whole.data, whole.length / 2, NULL, &d);
        if (d.code != cases[i].code || (!d.code && !d.info.truncated))
            print_error("%s: %s %.3f s, truncated %d\n", cases[i].words, d.err.message,
                        d.info.seconds, d.info.truncated);
        if (!d.code) {
            assert_true(d.info.truncated);
            assert_true(d.info.seconds > 0.5 && d.info.seconds < 2.5);
        }
        support_expect(&d, cases[i].code, cases[i].sentence);
        buf_release(&whole);
    }
}

static void video_without_sound(void **state)
{
    (void)state;
    if (!support_ffmpeg("-f lavfi -i testsrc=s=64x48:r=5:d=1 -an -c:v mpeg4 silent.mp4"))
        skip();
    struct decoded d;
    support_decode("silent.mp4", NULL, &d);
    support_expect(&d, ERR_NO_AUDIO, "the video has no audio track");
}

static void damage_in_the_middle_is_skipped(void **state)
{
    (void)state;
    if (!support_ffmpeg("-c:a libmp3lame -b:a 64k middle.mp3"))
        skip();
    struct buf mp3;
    struct decoded d;
    support_read("middle.mp3", &mp3);
    memset(mp3.data + mp3.length / 2, 0x55, 2000);
    support_decode_bytes(mp3.data, mp3.length, NULL, &d);
    assert_int_equal(d.code, 0);
    assert_true(d.info.seconds > 2);
    pcm_release(&d.pcm);
    buf_release(&mp3);
}

static uint32_t get_be32(const char *at)
{
    const unsigned char *p = (const unsigned char *)at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Make the box at `at`, and those that hold it, larger by `grown`. */
static void grow_boxes(char *file, size_t length, size_t inside, uint32_t grown)
{
    static const char *const holders[] = {"moov", "trak", "mdia", "minf", "dinf", "dref"};
    for (size_t i = 0; i < 6; i++)
        for (size_t at = 4; at + 4 <= length; at++) {
            uint32_t size = get_be32(file + at - 4);
            if (!memcmp(file + at, holders[i], 4) && at < inside &&
                at - 4 + size >= inside)
                set_be((unsigned char *)file + at - 4, size + grown, 4);
        }
}

/* QuickTime may say that the sound is in another file: here in one that exists. */
static void quicktime_does_not_reach_out(void **state)
{
    (void)state;
    if (!support_ffmpeg("-c:a pcm_s16le self.mov"))
        skip();
    struct buf mov, out, wav;
    struct decoded d;
    plain_wav(&wav, 3);
    support_write("target.wav", wav.data, wav.length);
    buf_release(&wav);
    support_read("self.mov", &mov);
    char *entry = memmem(mov.data, mov.length, "dref", 4);
    assert_non_null(entry);
    entry += 12; /* version and flags, number of entries: the first entry's size */
    size_t at = (size_t)(entry - mov.data);
    const char *path = support_path("target.wav");
    unsigned char alias[400] = {0};
    size_t length = 4 + 4 + 4 + 10 + 28 + 12 + 64 + 16 + 2 + 2 + 16;
    memcpy(alias + 4, "alis", 4);
    set_be(alias + length, 2, 2); /* an absolute path */
    size_t even = (strlen(path) + 1) & ~(size_t)1;
    set_be(alias + length + 2, even, 2);
    memcpy(alias + length + 4, path, strlen(path));
    length += 4 + even;
    set_be(alias + length, 0xFFFF, 2);
    length += 4;
    set_be(alias, length, 4);
    uint32_t old = get_be32(entry);
    grow_boxes(mov.data, mov.length, at, (uint32_t)length - old);
    buf_init(&out, 64 << 20);
    buf_add(&out, mov.data, at);
    buf_add(&out, alias, length);
    buf_add(&out, mov.data + at + old, mov.length - at - old);
    support_decode_bytes(out.data, out.length, NULL, &d);
    support_expect(&d, ERR_NO_AUDIO, "holds no sound");
    buf_release(&mov);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_media_is_named),
        cmocka_unit_test(playlists_are_not_followed),
        cmocka_unit_test(wav_without_sound),
        cmocka_unit_test(one_sample_is_a_recording),
        cmocka_unit_test(plain_wav_is_read_as_ffmpeg_reads_it),
        cmocka_unit_test(cut_wav_gives_what_is_there),
        cmocka_unit_test(not_a_number_is_silence),
        cmocka_unit_test(sync_words_are_no_recording),
        cmocka_unit_test(too_long_is_refused),
        cmocka_unit_test(ten_hours),
        cmocka_unit_test(a_claim_beyond_the_file_is_not_believed),
        cmocka_unit_test(allowed_formats_go_by_content),
        cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(not_a_file),
        cmocka_unit_test(spooled_input),
        cmocka_unit_test(claimed_hours_are_refused_at_once),
        cmocka_unit_test(cut_files),
        cmocka_unit_test(video_without_sound),
        cmocka_unit_test(damage_in_the_middle_is_skipped),
        cmocka_unit_test(quicktime_does_not_reach_out),
    };
    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
