/* Small valid files with random bytes changed, cut and repeated: whatever the decoder
 * makes of them, the parent gets a code that is documented and a sentence. WT_ROUNDS sets
 * how many; WT_SEED repeats a run. */
#include "support.h"

#include <math.h>

static unsigned state_of_chance;

static unsigned chance(unsigned below)
{
    state_of_chance = state_of_chance * 1664525 + 1013904223;
    return below ? (state_of_chance >> 8) % below : 0;
}

static void mutate(struct buf *b)
{
    unsigned changes = 1 + chance(8);
    for (unsigned i = 0; i < changes && b->length > 16; i++) {
        /* headers matter most */
        unsigned reach = chance(2) ? (unsigned)b->length : 64 + chance(512);
        unsigned at = chance(reach < b->length ? reach : (unsigned)b->length);
        switch (chance(6)) {
        case 0:
            b->data[at] = (char)(b->data[at] ^ (1 << chance(8)));
            break;
        case 1:
            b->data[at] = (char)0xFF;
            break;
        case 2:
            b->data[at] = 0;
            break;
        case 3:
            b->length -= chance((unsigned)b->length / 4);
            break;
        case 4: {
            unsigned n = chance(64), from = chance((unsigned)b->length - 1);
            if (at + n < b->length && from + n < b->length)
                memmove(b->data + at, b->data + from, n);
            break;
        }
        default:
            b->data[at] = (char)chance(256);
        }
    }
}

static void check(const struct buf *b)
{
    struct media_limits limits;
    struct decoded d;
    media_limits_init(&limits);
    limits.max_seconds = 60;
    limits.cpu_seconds = 20;
    support_decode_bytes(b->data, b->length, &limits, &d);
    switch (d.code) {
    case 0:
        assert_true(d.pcm.count > 0 && d.info.seconds > 0 && d.info.seconds <= 60);
        for (size_t i = 0; i < d.pcm.count; i++)
            assert_true(fabsf(d.pcm.samples[i]) <= 1);
        break;
    case ERR_NOT_MEDIA:
    case ERR_NO_AUDIO:
    case ERR_UNSUPPORTED:
    case ERR_TOO_LARGE:
    case ERR_CORRUPT:
    case ERR_TIMEOUT:
        assert_true(strlen(d.err.message) > 10);
        break;
    default: /* ERR_CRASH is documented as well, but it would be a find */
        support_write("find", b->data, b->length);
        print_error("%s: %s (kept in /tmp/media-find)\n", err_name(d.code),
                    d.err.message);
        rename(support_path("find"), "/tmp/media-find");
        assert_int_equal(d.code, 0);
    }
    pcm_release(&d.pcm);
}

static const char *const files[] = {
    "-t 0.3 -c:a libmp3lame m.mp3", "-t 0.3 -c:a aac m.m4a",
    "-t 0.3 -c:a flac m.flac",      "-t 0.3 -c:a libvorbis m.ogg",
    "-t 0.3 -c:a libopus m.webm",   "-t 0.3 -c:a wmav2 m.wma",
    "-t 0.3 -c:a pcm_s16be m.aiff", "-t 0.3 -c:a adpcm_ima_wav m.avi",
    "-t 0.3 -c:a ac3 m.ts",         "-t 0.3 -c:a alac m.mov",
    "-t 0.3 -c:a wavpack m.wv",     "-t 0.3 -c:a pcm_s24le m.caf",
};

static size_t gather(struct buf *out)
{
    struct support_wav w = {SAMPLE_S16, 16000, 1, 0.3, -1, 0, 0};
    size_t count = 0;
    support_wav(&w, &out[count++]);
    for (size_t i = 0; i < sizeof files / sizeof *files && count < 16; i++)
        if (support_ffmpeg(files[i]))
            support_read(strrchr(files[i], ' ') + 1, &out[count++]);
    return count;
}

static void mutations_never_hurt(void **state)
{
    (void)state;
    const char *rounds_text = getenv("WT_ROUNDS"), *seed_text = getenv("WT_SEED");
    long rounds = rounds_text ? strtol(rounds_text, NULL, 10) : 30;
    state_of_chance = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : 20261124;
    struct buf originals[16], b;
    size_t count = gather(originals);
    for (long i = 0; i < rounds; i++) {
        const struct buf *original = &originals[(size_t)i % count];
        buf_init(&b, 1 << 24);
        buf_add(&b, original->data, original->length);
        mutate(&b);
        check(&b);
        buf_release(&b);
    }
    for (size_t i = 0; i < count; i++)
        buf_release(&originals[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mutations_never_hurt)};
    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
