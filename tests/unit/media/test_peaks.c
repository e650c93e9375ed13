/* How loud a recording is along its time, and of what type it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "media/kind.h"
#include "media/peaks.h"

#include <math.h>
#include <string.h>

static void every_twenty_milliseconds_have_one(void **state)
{
    (void)state;
    assert_int_equal(peaks_count(0), 0);
    assert_int_equal(peaks_count(1), 1);
    assert_int_equal(peaks_count(320), 1);
    assert_int_equal(peaks_count(321), 2);
    assert_int_equal(peaks_count(16000), PEAKS_PER_SECOND);
}

static void the_greatest_counts_whatever_its_sign(void **state)
{
    float samples[700] = {0};
    uint8_t out[4] = {9, 9, 9, 9};
    (void)state;
    samples[5] = 0.25f;
    samples[319] = -0.5f;
    samples[400] = -1;
    samples[699] = 0.01f;
    peaks_make(samples, 700, out);
    assert_int_equal(out[0], lrint(255 * sqrt(0.5)));
    assert_int_equal(out[1], 255);
    assert_true(fabs(peaks_value(out[2]) - 0.01) < 0.001);
    assert_int_equal(out[3], 9); /* not touched */
}

static void values_come_back(void **state)
{
    (void)state;
    assert_true(peaks_value(0) == 0 && peaks_value(255) == 1);
    for (int i = 0; i <= 1000; i++) {
        float sample = (float)i / 1000;
        uint8_t peak;
        peaks_make(&sample, 1, &peak);
        assert_true(fabs(peaks_value(peak) - sample) < 0.005);
    }
}

static void what_is_no_number_is_loud(void **state)
{
    const float strange[] = {NAN, INFINITY, -2};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        uint8_t peak = 0;
        peaks_make(&strange[i], 1, &peak);
        assert_int_equal(peak, 255);
    }
}

static void fewer_points_lose_no_peak(void **state)
{
    uint8_t peaks[1000] = {0}, out[1000];
    (void)state;
    peaks[0] = 3;
    peaks[567] = 200;
    peaks[999] = 7;
    for (size_t points = 1; points <= 1000; points++) {
        uint8_t most = 0;
        peaks_reduce(peaks, 1000, out, points);
        for (size_t i = 0; i < points; i++)
            most = out[i] > most ? out[i] : most;
        assert_int_equal(most, 200);
        assert_int_equal(out[points - 1],
                         points == 1 || 567 * points / 1000 == points - 1 ? 200 : 7);
    }
    assert_memory_equal(out, peaks, 1000);
}

static const char *kind(const char *bytes, size_t length)
{
    return media_kind((const uint8_t *)bytes, length);
}
#define KIND(literal) kind(literal, sizeof(literal) - 1)

static void types_are_told_by_content(void **state)
{
    (void)state;
    assert_string_equal(KIND("RIFF\x24\0\0\0WAVEfmt "), "audio/wav");
    assert_string_equal(KIND("ID3\x04\0\0"), "audio/mpeg");
    assert_string_equal(KIND("\xFF\xFB\x90\x64"), "audio/mpeg");
    assert_string_equal(KIND("\xFF\xF1\x50\x80"), "audio/aac");
    assert_string_equal(KIND("fLaC\0\0"), "audio/flac");
    assert_string_equal(KIND("OggS\0\x02"), "audio/ogg");
    assert_string_equal(KIND("\0\0\0\x20"
                             "ftypM4A \0\0"),
                        "audio/mp4");
    assert_string_equal(KIND("\0\0\0\x20"
                             "ftypisom"),
                        "video/mp4");
    assert_string_equal(KIND("\x1A\x45\xDF\xA3\x9F"), "video/webm");
    assert_string_equal(KIND(""), "application/octet-stream");
    assert_string_equal(KIND("<html><script>"), "application/octet-stream");
    assert_string_equal(KIND("\xFF\xD8\xFF\xE0"), "application/octet-stream"); /* JPEG */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_twenty_milliseconds_have_one),
        cmocka_unit_test(the_greatest_counts_whatever_its_sign),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(what_is_no_number_is_loud),
        cmocka_unit_test(fewer_points_lose_no_peak),
        cmocka_unit_test(types_are_told_by_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
