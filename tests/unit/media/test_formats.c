/* Every format that people record in: right length, right samples, no codec's delay left.
 */
#include "support.h"

#include <math.h>

static void check_signal(struct decoded *d, const char *name, double seconds,
                         double likeness)
{
    assert_int_equal(d->code, 0);
    int shift;
    double got = support_likeness(&d->pcm, 480, &shift);
    bool good = fabs(d->info.seconds - seconds) <= (likeness < 0.98 ? 0.06 : 0.03) &&
                got >= likeness &&
                abs(shift) <= (likeness > 0.99    ? 1
                               : likeness >= 0.98 ? 16
                                                  : 480) &&
                !d->info.truncated;
    if (!good)
        print_error("%s: %.3f s, likeness %.4f at %d, truncated %d\n", name,
                    d->info.seconds, got, shift, d->info.truncated);
    assert_true(good);
    pcm_release(&d->pcm);
}

static void wav_of_every_kind(void **state)
{
    (void)state;
    static const struct {
        struct support_wav wav;
        const char *codec;
    } cases[] = {
        {{SAMPLE_S16, 16000, 1, 2, -1, 0, 0}, "pcm_s16le"},
        {{SAMPLE_U8, 8000, 1, 2, -1, 0, 0}, "pcm_u8"},
        {{SAMPLE_S16, 8000, 1, 2, -1, 0, 0}, "pcm_s16le"},
        {{SAMPLE_S16, 44100, 2, 2, -1, 0, 0}, "pcm_s16le"},
        {{SAMPLE_S24, 48000, 2, 2, -1, 0, 0}, "pcm_s24le"},
        {{SAMPLE_S32, 96000, 1, 2, -1, 0, 0}, "pcm_s32le"},
        {{SAMPLE_F32, 44100, 1, 2, -1, 0, 0}, "pcm_f32le"},
        {{SAMPLE_S16, 48000, 6, 2, -1, 0x3F, 0}, "pcm_s16le"},
        {{SAMPLE_S16, 16000, 8, 2, -1, 0x63F, 0}, "pcm_s16le"},
        {{SAMPLE_S16, 16000, 13, 2, -1, 0, 0}, "pcm_s16le"},
        {{SAMPLE_S16, 16000, 1, 2, -1, 0x8, 0}, "pcm_s16le"}, /* says "subwoofer" */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf wav;
        struct decoded d;
        support_wav(&cases[i].wav, &wav);
        support_decode_bytes(wav.data, wav.length, NULL, &d);
        assert_string_equal(d.info.container, "wav");
        assert_string_equal(d.info.codec, cases[i].codec);
        assert_int_equal(d.info.channels, cases[i].wav.channels);
        assert_int_equal(d.info.rate, cases[i].wav.rate);
        check_signal(&d, cases[i].codec, 2, 0.999);
        buf_release(&wav);
    }
}

static double peak(const struct pcm *pcm)
{
    double most = 0;
    for (size_t i = 0; i < pcm->count; i++)
        most = fmax(most, fabs((double)pcm->samples[i]));
    return most;
}

/* Mono and stereo keep their level; the speech of a film is in the middle channel. */
static void downmix_keeps_level_and_centre(void **state)
{
    (void)state;
    static const struct {
        struct support_wav wav;
        double least, most;
    } cases[] = {
        {{SAMPLE_S16, 16000, 1, 2, -1, 0, 0}, 0.99, 1.01},
        {{SAMPLE_S16, 16000, 2, 2, -1, 0, 0}, 0.99, 1.01},
        {{SAMPLE_S16, 16000, 2, 2, 1, 0, 0}, 0.45, 0.55},
        {{SAMPLE_S16, 16000, 6, 2, -1, 0x3F, 0}, 0.9, 1.01},
        {{SAMPLE_S16, 16000, 6, 2, 2, 0x3F, 0}, 0.2, 0.6},
    };
    struct buf wav;
    struct decoded d;
    support_wav(&cases[0].wav, &wav);
    support_decode_bytes(wav.data, wav.length, NULL, &d);
    double reference = peak(&d.pcm);
    pcm_release(&d.pcm);
    buf_release(&wav);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        support_wav(&cases[i].wav, &wav);
        support_decode_bytes(wav.data, wav.length, NULL, &d);
        double level = peak(&d.pcm) / reference;
        if (level < cases[i].least || level > cases[i].most)
            print_error("case %zu: level %.3f\n", i, level);
        assert_true(level >= cases[i].least && level <= cases[i].most);
        check_signal(&d, "downmix", 2, 0.999);
        buf_release(&wav);
    }
}

/* From 0.98 on the codec's delay must be gone as well; below are codecs and containers
 * that do not say how long it is. What is left when a codec of the telephone has done its
 * work is less like the signal than what a music codec leaves. */
static const struct encoding {
    const char *words; /* for ffmpeg; the last is the file */
    const char *container, *codec;
    double likeness;
} encodings[] = {
    {"-c:a flac a.flac", "flac", "flac", 0.999},
    {"-c:a alac alac.m4a", "mov", "alac", 0.999},
    {"-c:a pcm_s16be a.aiff", "aiff", "pcm_s16be", 0.999},
    {"-c:a pcm_s16be a.caf", "caf", "pcm_s16be", 0.999},
    {"-c:a pcm_s16be a.au", "au", "pcm_s16be", 0.999},
    {"-c:a pcm_f64le a.w64", "w64", "pcm_f64le", 0.999},
    {"-c:a pcm_alaw -ar 8000 alaw.wav", "wav", "pcm_alaw", 0.98},
    {"-c:a adpcm_ms adpcm.wav", "wav", "adpcm_ms", 0.98},
    {"-c:a wavpack a.wv", "wv", "wavpack", 0.999},
    {"-c:a tta a.tta", "tta", "tta", 0.999},
    {"-c:a libmp3lame -b:a 64k a.mp3", "mp3", "mp3", 0.98},
    {"-c:a libmp3lame -b:a 64k -ar 22050 -ac 2 -id3v2_version 3 -metadata title=x b.mp3",
     "mp3", "mp3", 0.98},
    {"-c:a mp2 -ar 48000 a.mp2", "mp3", "mp2", 0.97},
    {"-c:a aac -b:a 64k a.m4a", "mov", "aac", 0.98},
    {"-c:a aac -b:a 64k a.aac", "aac", "aac", 0.9},
    {"-c:a libvorbis a.ogg", "ogg", "vorbis", 0.98},
    {"-c:a libopus -b:a 32k a.opus", "ogg", "opus", 0.9},
    {"-c:a libopus -b:a 32k a.webm", "matroska", "opus", 0.9},
    {"-c:a libspeex -ar 16000 a.spx", "ogg", "speex", 0.6},
    {"-c:a flac flac.oga", "ogg", "flac", 0.999},
    {"-c:a ac3 a.ac3", "ac3", "ac3", 0.9},
    {"-c:a wmav2 a.wma", "asf", "wmav2", 0.6},
    {"-c:a libgsm_ms -ar 8000 gsm.wav", "wav", "gsm_ms", 0.6},
    {"-f lavfi -i testsrc=s=64x48:r=5:d=3 -c:v mpeg4 -c:a aac -b:a 64k v.mp4", "mov",
     "aac", 0.98},
    {"-f lavfi -i testsrc=s=64x48:r=5:d=3 -c:v mpeg4 -c:a pcm_s16le v.mov", "mov",
     "pcm_s16le", 0.999},
    {"-f lavfi -i testsrc=s=64x48:r=5:d=3 -c:v mpeg4 -c:a libmp3lame -b:a 64k v.mkv",
     "matroska", "mp3", 0.9},
    {"-f lavfi -i testsrc=s=64x48:r=5:d=3 -c:v mpeg4 -c:a pcm_s16le v.avi", "avi",
     "pcm_s16le", 0.999},
    {"-f lavfi -i testsrc=s=64x48:r=25:d=3 -c:v mpeg2video -c:a mp2 v.ts", "mpegts",
     "mp2", 0.9},
    {"-f lavfi -i testsrc=s=64x48:r=25:d=3 -c:v mpeg1video -c:a mp2 v.mpg", "mpeg", "mp2",
     0.9},
    {"-f lavfi -i testsrc=s=64x48:r=5:d=3 -c:v flv -c:a libmp3lame -ar 44100 -b:a 64k "
     "v.flv",
     "flv", "mp3", 0.9},
};

static void what_ffmpeg_encodes(void **state)
{
    (void)state;
    if (!support_has_ffmpeg()) {
        puts("skipped: the ffmpeg command is not installed");
        skip();
    }
    int tested = 0;
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        const struct encoding *x = &encodings[i];
        if (!support_ffmpeg(x->words)) {
            printf("left out, no such encoder: ffmpeg %s\n", x->words);
            continue;
        }
        struct decoded d;
        support_decode(strrchr(x->words, ' ') + 1, NULL, &d);
        if (d.code || strcmp(d.info.container, x->container) ||
            strcmp(d.info.codec, x->codec))
            print_error("%s: %s, %s, %s\n", x->words, d.err.message, d.info.container,
                        d.info.codec);
        assert_int_equal(d.code, 0);
        assert_string_equal(d.info.container, x->container);
        assert_string_equal(d.info.codec, x->codec);
        check_signal(&d, x->words, 3, x->likeness);
        tested++;
    }
    assert_true(tested >= 15);
}

/* No distribution's ffmpeg writes AMR; any bits are a valid frame of 20 ms at 12.2 kbit.
 */
static void amr_by_hand(void **state)
{
    (void)state;
    struct buf amr;
    struct decoded d;
    buf_init(&amr, 100000);
    buf_str(&amr, "#!AMR\n");
    unsigned seed = 1;
    for (int frame = 0; frame < 100; frame++) {
        buf_char(&amr, 0x3C);
        for (int i = 0; i < 31; i++)
            buf_char(&amr, (char)((seed = seed * 1103515245 + 12345) >> 16));
    }
    support_decode_bytes(amr.data, amr.length, NULL, &d);
    assert_int_equal(d.code, 0);
    assert_string_equal(d.info.container, "amr");
    assert_string_equal(d.info.codec, "amr_nb");
    assert_true(fabs(d.info.seconds - 2) <= 0.03);
    pcm_release(&d.pcm);
    buf_release(&amr);
}

/* The film begins with a second of picture alone. */
static void late_sound_keeps_its_place(void **state)
{
    (void)state;
    static const char *const words[] = {
        "-filter_complex [0:a]asetpts=PTS+1/TB[a];testsrc=s=64x48:r=5:d=4[v] -map [v] "
        "-map [a] "
        "-c:v mpeg4 -c:a aac late.mp4",
        "-filter_complex [0:a]asetpts=PTS+1/TB[a];testsrc=s=64x48:r=5:d=4[v] -map [v] "
        "-map [a] "
        "-c:v mpeg4 -c:a flac late.mkv",
    };
    for (int i = 0; i < 2; i++) {
        if (!support_has_ffmpeg() || !support_ffmpeg(words[i]))
            skip();
        struct decoded d;
        support_decode(strrchr(words[i], ' ') + 1, NULL, &d);
        assert_int_equal(d.code, 0);
        assert_true(fabs(d.info.seconds - 4) <= 0.05);
        struct pcm sound = {d.pcm.samples + 16000, d.pcm.count - 16000, 0};
        struct pcm before = {d.pcm.samples, 15000, 0};
        int shift;
        assert_true(support_likeness(&sound, 480, &shift) > 0.98);
        assert_true(abs(shift) <= 320 && peak(&before) < 0.01);
        pcm_release(&d.pcm);
    }
}

/* Two files one behind the other, as a recorder does that is paused. */
static void rate_and_channels_may_change(void **state)
{
    (void)state;
    if (!support_has_ffmpeg() ||
        !support_ffmpeg("-c:a libmp3lame -b:a 64k -ar 44100 -write_xing 0 one.mp3") ||
        !support_ffmpeg("-c:a libmp3lame -b:a 64k -ar 22050 -ac 2 -write_xing 0 two.mp3"))
        skip();
    struct buf one, two;
    struct decoded d;
    support_read("one.mp3", &one);
    support_read("two.mp3", &two);
    buf_add(&one, two.data, two.length);
    support_decode_bytes(one.data, one.length, NULL, &d);
    assert_int_equal(d.code, 0);
    assert_true(fabs(d.info.seconds - 6) < 0.3);
    struct pcm half = {d.pcm.samples + d.pcm.count / 2, d.pcm.count / 2, 0};
    assert_true(peak(&half) > 0.3 && peak(&d.pcm) < 1);
    pcm_release(&d.pcm);
    buf_release(&one);
    buf_release(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wav_of_every_kind),
        cmocka_unit_test(downmix_keeps_level_and_centre),
        cmocka_unit_test(what_ffmpeg_encodes),
        cmocka_unit_test(amr_by_hand),
        cmocka_unit_test(late_sound_keeps_its_place),
        cmocka_unit_test(rate_and_channels_may_change),
    };
    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
