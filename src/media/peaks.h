/* How loud a recording is along its time, small enough to be kept and drawn: one byte for
 * every 20 ms, the greatest magnitude among its samples. */
#ifndef MEDIA_PEAKS_H
#define MEDIA_PEAKS_H

#include <stddef.h>
#include <stdint.h>

#define PEAKS_SAMPLES    320 /* 20 ms of 16 kHz */
#define PEAKS_PER_SECOND 50

/* How many there are for so many samples; the last may stand for fewer than 20 ms. */
size_t peaks_count(size_t n_samples);

/* Fill out[peaks_count(count)] from samples within [-1, 1]. */
void peaks_make(const float *samples, size_t count, uint8_t *out);

/* The magnitude, 0 to 1, that a byte stands for. */
double peaks_value(uint8_t peak);

/* The greatest of each of `points` even parts; at most `count` points. */
void peaks_reduce(const uint8_t *peaks, size_t count, uint8_t *out, size_t points);

#endif
