#include "media/peaks.h"

#include <math.h>
#include <string.h>

size_t peaks_count(size_t n_samples)
{
    return n_samples / PEAKS_SAMPLES + (n_samples % PEAKS_SAMPLES != 0);
}

/* Without their sign, floats are in the order of their bits, and a maximum of whole
 * numbers is one that compilers make vectors of. */
static float greatest(const float *samples, size_t count)
{
    int32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, &samples[i], sizeof bits);
        bits &= 0x7FFFFFFF;
        most = bits > most ? bits : most;
    }
    float value;
    memcpy(&value, &most, sizeof value);
    return value;
}

/* The root, so that speech at -40 dB is still more than two steps of 255. */
static uint8_t to_byte(float magnitude)
{
    if (!(magnitude < 1))
        return 255;
    return (uint8_t)lrintf(255 * sqrtf(magnitude));
}

void peaks_make(const float *samples, size_t count, uint8_t *out)
{
    for (size_t at = 0; at < count; at += PEAKS_SAMPLES) {
        size_t n = count - at < PEAKS_SAMPLES ? count - at : PEAKS_SAMPLES;
        *out++ = to_byte(greatest(samples + at, n));
    }
}

double peaks_value(uint8_t peak)
{
    double root = peak / 255.0;
    return root * root;
}

void peaks_reduce(const uint8_t *peaks, size_t count, uint8_t *out, size_t points)
{
    for (size_t i = 0; i < points; i++) {
        size_t from = i * count / points, to = (i + 1) * count / points;
        uint8_t most = 0;
        for (size_t k = from; k < to; k++)
            most = peaks[k] > most ? peaks[k] : most;
        out[i] = most;
    }
}
