#include "engine/level.h"

#include <math.h>

#define NEAR_PEAK  0.995f /* of the peak: clipped tops ripple when they are resampled */
#define FULL_SCALE 0.95f  /* a lower peak was not clipped, or is turned down */

static float finite_or_zero(float x)
{
    return isfinite(x) ? x : 0;
}

static float decibels(double power)
{
    return power > 0 ? (float)(10 * log10(power)) : -INFINITY;
}

static double power_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double v = (double)finite_or_zero(x[i]);
        sum += v * v;
    }
    return sum;
}

static float speech_level(const float *samples, size_t n_samples, const struct speech *s)
{
    double sum = 0, count = 0;
    if (!s)
        return decibels(n_samples ? power_of(samples, n_samples) / (double)n_samples : 0);
    for (size_t i = 0; i < s->n_spans; i++) {
        size_t start = (size_t)s->spans[i].start_frame * FRAME_SAMPLES;
        size_t end = (size_t)s->spans[i].end_frame * FRAME_SAMPLES;
        sum += power_of(samples + start, end - start);
        count += (double)(end - start);
    }
    return decibels(count > 0 ? sum / count : 0);
}

/* Samples in runs of one sign that reach `limit`. */
static size_t count_clipped(const float *samples, size_t n, float limit)
{
    size_t clipped = 0, run = 0;
    float before = 0;
    for (size_t i = 0; i < n; i++) {
        float x = finite_or_zero(samples[i]);
        bool goes_on = before > 0 ? x >= limit : x <= -limit;
        run = fabsf(x) < limit ? 0 : run && goes_on ? run + 1 : 1;
        if (run == LEVEL_CLIPPED_RUN)
            clipped += LEVEL_CLIPPED_RUN;
        else if (run > LEVEL_CLIPPED_RUN)
            clipped++;
        before = x;
    }
    return clipped;
}

void level_measure(struct level *l, const float *samples, size_t n_samples,
                   const struct speech *s)
{
    float peak = 0;
    double sum = 0;
    for (size_t i = 0; i < n_samples; i++) {
        float x = finite_or_zero(samples[i]);
        peak = fmaxf(peak, fabsf(x));
        sum += (double)x;
    }
    *l = (struct level){.peak_dbfs = decibels((double)peak * (double)peak)};
    l->speech_dbfs = speech_level(samples, n_samples, s);
    if (n_samples)
        l->offset = (float)(sum / (double)n_samples);
    if (peak >= FULL_SCALE)
        l->clipped_share =
            (float)count_clipped(samples, n_samples, NEAR_PEAK * fminf(peak, 1)) /
            (float)n_samples;
}
