/* One step of a long short-term memory (Hochreiter and Schmidhuber, 1997), as the voice
 * detector has it. */
#ifndef ENGINE_KERNELS_LSTM_H
#define ENGINE_KERNELS_LSTM_H

#include "engine/kernels/simd.h"

/* 1 / (1 + e^-x); beyond 80 it is 0 or 1 in single precision. */
SIMD vf vf_sigmoid(vf x)
{
    return 1.0f / (1.0f + vf_exp(vf_min(vf_all(0) - x, vf_all(80))));
}

/* 1 - 2 / (1 + e^2x), to 1e-7 of 1. */
SIMD vf vf_tanh(vf x)
{
    return 1.0f - 2.0f / (1.0f + vf_exp(vf_min(x + x, vf_all(80))));
}

static void lstm_lanes(float *hidden, float *cell, const float *gates, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        vf input = vf_sigmoid(vf_load(gates + i));
        vf forget = vf_sigmoid(vf_load(gates + n + i));
        vf candidate = vf_tanh(vf_load(gates + 2 * n + i));
        vf output = vf_sigmoid(vf_load(gates + 3 * n + i));
        vf state = forget * vf_load(cell + i) + input * candidate;
        vf_store(cell + i, state);
        vf_store(hidden + i, output * vf_tanh(state));
    }
}

#endif
