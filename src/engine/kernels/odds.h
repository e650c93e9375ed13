/* What a step of the decoder looks for in a row of logits. */
#ifndef ENGINE_KERNELS_ODDS_H
#define ENGINE_KERNELS_ODDS_H

#include "engine/kernels/simd.h"

#define ODDS_VECTORS 4 /* so many sums side by side: none waits for the one before it */

static float most_lanes(const float *x, size_t n)
{
    const size_t step = ODDS_VECTORS * LANES;
    vf most[ODDS_VECTORS];
    size_t i = 0;
    UNROLL
    for (int j = 0; j < ODDS_VECTORS; j++)
        most[j] = vf_all(-INFINITY);
    for (; i + step <= n; i += step) {
        UNROLL
        for (int j = 0; j < ODDS_VECTORS; j++)
            most[j] = vf_max(vf_load(x + i + (size_t)j * LANES), most[j]);
    }
    for (; i < n; i += LANES)
        most[0] = vf_max(n - i >= LANES ? vf_load(x + i)
                                        : vf_load_part(x + i, n - i, -INFINITY),
                         most[0]);
    UNROLL
    for (int j = 1; j < ODDS_VECTORS; j++)
        most[0] = vf_max(most[j], most[0]);
    return vf_greatest(most[0]);
}

static double exp_sum_lanes(const float *x, size_t n, float most, float scale)
{
    const size_t step = ODDS_VECTORS * LANES;
    vf sum[ODDS_VECTORS];
    double total = 0;
    size_t i = 0;
    UNROLL
    for (int j = 0; j < ODDS_VECTORS; j++)
        sum[j] = vf_all(0);
    for (; i + step <= n; i += step) {
        UNROLL
        for (int j = 0; j < ODDS_VECTORS; j++)
            sum[j] += vf_exp((vf_load(x + i + (size_t)j * LANES) - most) * scale);
    }
    for (; i < n; i += LANES)
        sum[0] += n - i >= LANES
                      ? vf_exp((vf_load(x + i) - most) * scale)
                      : vf_exp((vf_load_part(x + i, n - i, -INFINITY) - most) * scale);
    UNROLL
    for (int j = 0; j < ODDS_VECTORS; j++)
        for (int l = 0; l < LANES; l++)
            total += (double)sum[j][l];
    return total;
}

#endif
