#include "engine/quiet.h"

#include "base/mem.h"

#include <math.h>

#define FRAME_SAMPLES 160
#define LEVELS        101

/* dB above -100 dB of full scale, 0 … 100. */
static uint8_t level_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float v = x[i];
        if (isfinite(v))
            sum += (double)v * v;
    }
    double db = 100 + 10 * log10(sum / (double)n + 1e-12);
    return db <= 0 ? 0 : db >= 100 ? 100 : (uint8_t)lrint(db);
}

/* The level that `share` of all frames above 0 do not exceed; digital silence is left
 * out, as it says nothing of the background. */
static int centile(const size_t histogram[LEVELS], size_t total, double share)
{
    size_t wanted = (size_t)(share * (double)total), seen = 0;
    for (int i = 1; i < LEVELS; i++) {
        seen += histogram[i];
        if (seen > wanted)
            return i;
    }
    return 100;
}

int quiet_begin(struct quiet *q, const float *samples, size_t n_samples, struct err *e)
{
    size_t histogram[LEVELS] = {0};
    q->frames = n_samples / FRAME_SAMPLES;
    if (mem_grow(&q->levels, &q->capacity, q->frames, sizeof *q->levels))
        return err_set(e, ERR_NOMEM, "no memory is left to measure the recording");
    for (size_t i = 0; i < q->frames; i++) {
        q->levels[i] = level_of(samples + i * FRAME_SAMPLES, FRAME_SAMPLES);
        histogram[q->levels[i]]++;
    }
    size_t sounding = q->frames - histogram[0];
    int background = centile(histogram, sounding, 0.10) + QUIET_ABOVE_FLOOR;
    int loud = centile(histogram, sounding, 0.99) - QUIET_BELOW_LOUD;
    q->threshold = background < loud ? background : loud;
    if (q->threshold < 0)
        q->threshold = 0; /* digital silence is quiet in any recording */
    return 0;
}

void quiet_release(struct quiet *q)
{
    if (!q)
        return;
    free(q->levels);
    *q = (struct quiet){0};
}

int64_t quiet_skip(const struct quiet *q, int64_t seek)
{
    if (seek < 0 || (uint64_t)seek >= q->frames)
        return 0;
    size_t end = (size_t)seek;
    while (end < q->frames && q->levels[end] <= q->threshold)
        end++;
    int64_t run = (int64_t)end - seek;
    if (end == q->frames)
        return run >= QUIET_MIN_AT_END ? run : 0;
    return run >= QUIET_MIN_FRAMES ? run - QUIET_LEAD_FRAMES : 0;
}
