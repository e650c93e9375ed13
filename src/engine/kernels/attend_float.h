/* Attention of one head in floats, with keys and values kept in 16 bits: for processors
 * that multiply 16-bit numbers at half the speed of floats, as 64-bit Arm ones do (the
 * Cortex-A720, by its optimisation guide, begins two FMLA in a cycle and one SMLAL). The
 * memory is as large as that of attend.h, and only attend_store of the same level writes
 * it, as panels of the matrix kernel:
 *
 *   keys   [positions / 16][ATTEND_HEAD][16]   times a scale for each position
 *   values [ATTEND_HEAD / 16][positions][16]   times a scale for each column
 *
 * No sum of products can overflow here, so the numbers use all of the 16 bits. They are
 * made floats once for all rows. Blocks of keys and a softmax that is kept up to date, as
 * there; what is summed is what the matrix kernel gives, which does not depend on how
 * many rows there are. */
#ifndef ENGINE_KERNELS_ATTEND_FLOAT_H
#define ENGINE_KERNELS_ATTEND_FLOAT_H

#include "engine/kernels/gemm_tile.h"

#define HEAD        ATTEND_HEAD
#define FLOAT_KEYS  64 /* taken together: as floats, half of a first cache */

#define FINE_KEYS   32767.0f /* the greatest number of a key */
#define FINE_VALUES 16.0f    /* times ATTEND_VALUES: of a value */

_Static_assert(ATTEND_ROWS *(FLOAT_KEYS + HEAD) + FLOAT_KEYS * HEAD <= ATTEND_SCRATCH,
               "scores, sums and a block's keys or values fit");

/* n numbers, a multiple of 16, as floats. */
static void widen_numbers(float *out, const int16_t *in, size_t n)
{
    for (size_t i = 0; i < n; i += KERNEL_LANES) {
        UNROLL
        for (size_t j = 0; j < KERNEL_LANES; j += LANES)
            vf_store(out + i + j, __builtin_convertvector(load_16(in + i + j), vf));
    }
}

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

static void attend_float_lanes(const struct attend *a)
{
    float *scores = a->scratch, *sums = scores + ATTEND_ROWS * FLOAT_KEYS;
    float *wide = sums + ATTEND_ROWS * HEAD;
    struct attend_row state[ATTEND_ROWS];
    struct gemm score = {.x = a->query,
                         .x_stride = a->query_stride,
                         .w = wide,
                         .w_stride = HEAD * KERNEL_LANES,
                         .y = scores,
                         .y_stride = FLOAT_KEYS,
                         .m = a->rows,
                         .k = HEAD};
    struct gemm value = {.x = scores,
                         .x_stride = FLOAT_KEYS,
                         .w = wide,
                         .w_stride = FLOAT_KEYS * KERNEL_LANES,
                         .y = sums,
                         .y_stride = HEAD,
                         .m = a->rows,
                         .n = HEAD,
                         .flags = GEMM_ADD};
    memset(sums, 0, sizeof *sums * (size_t)a->rows * HEAD);
    for (int r = 0; r < a->rows; r++)
        state[r] = (struct attend_row){-INFINITY, 0};
    for (int key = 0; key < a->n_keys; key += FLOAT_KEYS) {
        int n = a->n_keys - key < FLOAT_KEYS ? a->n_keys - key : FLOAT_KEYS;
        score.n = (n + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
        widen_numbers(wide, a->keys + (size_t)key * HEAD, (size_t)score.n * HEAD);
        gemm_f32_lanes(&score);
        for (int r = 0; r < a->rows; r++)
            share_row(scores + r * FLOAT_KEYS, a->key_scales + key, n, a->scale,
                      sums + r * HEAD, &state[r]);
        for (int p = 0; p < HEAD / KERNEL_LANES; p++)
            widen_numbers(wide + p * FLOAT_KEYS * KERNEL_LANES,
                          a->values + (size_t)p * a->value_stride +
                              (size_t)key * KERNEL_LANES,
                          (size_t)n * KERNEL_LANES);
        value.k = n; /* what lies behind may be no number */
        gemm_f32_lanes(&value);
    }
    for (int r = 0; r < a->rows; r++) {
        float *out = a->out + (size_t)r * a->out_stride;
        for (int p = 0; p < HEAD; p += LANES)
            vf_store(out + p, vf_load(sums + r * HEAD + p) *
                                  vf_load(a->value_scales + p) *
                                  (1.0f / FINE_VALUES / state[r].total));
    }
}

/* ---- what is attended to ------------------------------------------------------------
 */

/* What a key is multiplied with, so that its greatest becomes FINE_KEYS. */
static float key_factor(const float *x, float *scale)
{
    vf top = vf_all(0);
    for (int i = 0; i < HEAD; i += LANES) {
        vf v = vf_load(x + i);
        top = vf_max(vf_max(v, vf_all(0) - v), top);
    }
    float greatest = vf_greatest(vf_min(top, vf_all(3e38f)));
    *scale = greatest > 1e-30f ? greatest / FINE_KEYS : 0;
    return greatest > 1e-30f ? FINE_KEYS / greatest : 0;
}

/* What is no number is 0. */
SIMD vi whole_numbers(vf v, float most)
{
    v = vf_select(v == v, v, vf_all(0));
    return vf_round(vf_min(vf_max(v, vf_all(-most)), vf_all(most)));
}

static void attend_key_float(const struct attend_store *a, int t)
{
    const float *key = a->keys_in + (size_t)t * a->stride;
    float factor = key_factor(key, &a->key_scales[t]);
    for (int i = 0; i < HEAD; i += LANES) {
        vi k = whole_numbers(vf_load(key + i) * factor, FINE_KEYS);
        for (int j = 0; j < LANES; j++)
            a->keys[(i + j) * KERNEL_LANES + t] = (int16_t)k[j];
    }
}

static void attend_value_float(const struct attend_store *a, int t)
{
    const float *value = a->values_in + (size_t)t * a->stride;
    for (int i = 0; i < HEAD; i += LANES) {
        vf v = vf_load(value + i) * (vf_load(a->value_inverses + i) * FINE_VALUES);
        store_16(a->values + (size_t)(i / KERNEL_LANES) * a->value_stride +
                     (size_t)t * KERNEL_LANES + i % KERNEL_LANES,
                 whole_numbers(v, ATTEND_VALUES * FINE_VALUES));
    }
}

static void attend_store_float_lanes(const struct attend_store *a)
{
    for (int t = 0; t < a->rows && a->keys_in; t++)
        attend_key_float(a, t);
    for (int t = 0; t < a->rows && a->values_in; t++)
        attend_value_float(a, t);
}

#endif
