/* Attention of one head in floats, with keys and values kept as IEEE halves: for
 * processors that multiply 16-bit numbers at half the speed of floats, as 64-bit Arm ones
 * do (the Cortex-A720, by its optimisation guide, begins two FMLA in a cycle, one SMLAL,
 * and a FCVTL in every second: halves are widened once for all rows). The memory is as
 * large as that of attend.h, and only attend_store of the same level writes it, as panels
 * of the matrix kernel:
 *
 *   keys   [positions / 16][ATTEND_HEAD][16]   times a scale for each position
 *   values [ATTEND_HEAD / 16][positions][16]   times a scale for each column
 *
 * Blocks of keys and a softmax that is kept up to date, as there; what is summed is what
 * the matrix kernel gives, which does not depend on how many rows there are. */
#ifndef ENGINE_KERNELS_ATTEND_HALF_H
#define ENGINE_KERNELS_ATTEND_HALF_H

#include "engine/kernels/gemm_tile.h"

#define HEAD      ATTEND_HEAD
#define HALF_KEYS 64 /* taken together: as floats, half of a first cache */

_Static_assert(ATTEND_ROWS *(HALF_KEYS + HEAD) + HALF_KEYS * HEAD <= ATTEND_SCRATCH,
               "scores, sums and a block's keys or values fit");

/* What is kept of a row from block to block. */
struct attend_row {
    float greatest; /* score so far */
    float total;    /* of the shares */
};

/* Scores of one row, n of them, to shares; the sums so far are brought to the new
 * greatest. */
static void share_row(float *score, const float *key_scales, int n, float scale,
                      float *sums, struct attend_row *state)
{
    vf most = vf_all(-INFINITY);
    int whole = n / LANES * LANES;
    for (int i = 0; i < whole; i += LANES) {
        vf x = vf_load(score + i) * (vf_load(key_scales + i) * scale);
        vf_store(score + i, x);
        most = vf_max(x, most);
    }
    float top = vf_greatest(most);
    for (int i = whole; i < n; i++) {
        score[i] *= key_scales[i] * scale;
        top = score[i] > top ? score[i] : top;
    }
    if (top > state->greatest) {
        float less = expf(state->greatest - top);
        for (int p = 0; p < HEAD; p += LANES)
            vf_store(sums + p, vf_load(sums + p) * less);
        state->total *= less;
        state->greatest = top;
    }
    vf sum = vf_all(0);
    for (int i = 0; i < whole; i += LANES) {
        vf share = vf_exp(vf_load(score + i) - state->greatest);
        vf_store(score + i, share);
        sum += share;
    }
    float all = vf_sum(sum);
    for (int i = whole; i < n; i++)
        all += score[i] = vf_exp(vf_all(score[i] - state->greatest))[0];
    state->total += all;
}

static void attend_half_lanes(const struct attend *a)
{
    float *scores = a->scratch, *sums = scores + ATTEND_ROWS * HALF_KEYS;
    float *wide = sums + ATTEND_ROWS * HEAD;
    struct attend_row state[ATTEND_ROWS];
    struct gemm score = {.x = a->query,
                         .x_stride = a->query_stride,
                         .w = wide,
                         .w_stride = HEAD * KERNEL_LANES,
                         .y = scores,
                         .y_stride = HALF_KEYS,
                         .m = a->rows,
                         .k = HEAD};
    struct gemm value = {.x = scores,
                         .x_stride = HALF_KEYS,
                         .w = wide,
                         .w_stride = HALF_KEYS * KERNEL_LANES,
                         .y = sums,
                         .y_stride = HEAD,
                         .m = a->rows,
                         .n = HEAD,
                         .flags = GEMM_ADD};
    memset(sums, 0, sizeof *sums * (size_t)a->rows * HEAD);
    for (int r = 0; r < a->rows; r++)
        state[r] = (struct attend_row){-INFINITY, 0};
    for (int key = 0; key < a->n_keys; key += HALF_KEYS) {
        int n = a->n_keys - key < HALF_KEYS ? a->n_keys - key : HALF_KEYS;
        score.n = (n + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
        widen_lanes(wide, (const uint16_t *)a->keys + (size_t)key * HEAD,
                    (size_t)score.n * HEAD);
        gemm_f32_lanes(&score);
        for (int r = 0; r < a->rows; r++)
            share_row(scores + r * HALF_KEYS, a->key_scales + key, n, a->scale,
                      sums + r * HEAD, &state[r]);
        for (int p = 0; p < HEAD / KERNEL_LANES; p++)
            widen_lanes(wide + p * HALF_KEYS * KERNEL_LANES,
                        (const uint16_t *)a->values + (size_t)p * a->value_stride +
                            (size_t)key * KERNEL_LANES,
                        (size_t)n * KERNEL_LANES);
        value.k = n; /* what lies behind may be no number */
        gemm_f32_lanes(&value);
    }
    for (int r = 0; r < a->rows; r++) {
        float *out = a->out + (size_t)r * a->out_stride;
        for (int p = 0; p < HEAD; p += LANES)
            vf_store(out + p, vf_load(sums + r * HEAD + p) *
                                  vf_load(a->value_scales + p) * (1.0f / state[r].total));
    }
}

/* ---- what is attended to ------------------------------------------------------------
 */

/* A factor that brings the greatest of a key to ATTEND_NUMBERS: halves hold every number
 * up to it with 11 bits. */
static float key_factor(const float *x, float *scale)
{
    vf top = vf_all(0);
    for (int i = 0; i < HEAD; i += LANES) {
        vf v = vf_load(x + i);
        top = vf_max(vf_max(v, vf_all(0) - v), top);
    }
    float greatest = vf_greatest(vf_min(top, vf_all(3e38f)));
    *scale = greatest > 1e-30f ? greatest / ATTEND_NUMBERS : 0;
    return greatest > 1e-30f ? ATTEND_NUMBERS / greatest : 0;
}

/* What is no number is 0. */
SIMD vf held_number(vf v, float most)
{
    v = vf_select(v == v, v, vf_all(0));
    return vf_min(vf_max(v, vf_all(-most)), vf_all(most));
}

static void attend_store_half_lanes(const struct attend_store *a)
{
    for (int t = 0; t < a->rows; t++) {
        const float *key = a->keys_in + (size_t)t * a->stride;
        const float *value = a->values_in + (size_t)t * a->stride;
        float factor = key_factor(key, &a->key_scales[t]);
        for (int i = 0; i < HEAD; i += LANES) {
            uint16_t half[LANES];
            store_half(half, held_number(vf_load(key + i) * factor, ATTEND_NUMBERS));
            for (int j = 0; j < LANES; j++)
                a->keys[(i + j) * KERNEL_LANES + t] = (int16_t)half[j];
            vf v = vf_load(value + i) * vf_load(a->value_inverses + i);
            store_half(half, held_number(v, ATTEND_VALUES));
            memcpy(a->values + (size_t)(i / KERNEL_LANES) * a->value_stride +
                       (size_t)t * KERNEL_LANES + i % KERNEL_LANES,
                   half, sizeof half);
        }
    }
}

#endif
