/* Attention of one head in whole numbers of 16 bits with 32-bit sums: keys in blocks, so
 * that the scores never leave the first cache; the softmax is kept up to date from block
 * to block (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018;
 * the blocks are those of Dao and others, "FlashAttention", 2022).
 *
 * Sixteen bits, because every processor with 8-bit products has these at half their
 * speed, twice that of floats, while bf16 is slower than floats on some; and 12 bits of
 * the greatest are nearer to exact than bf16's 8 of each.
 */
#ifndef ENGINE_KERNELS_ATTEND_H
#define ENGINE_KERNELS_ATTEND_H

#include "engine/kernels/rowops.h"

#define HEAD          ATTEND_HEAD
#define HEAD_VECTORS  (HEAD / LANES)
#define PANEL_VECTORS (KERNEL_LANES / LANES)

#if LANES == 16
#define ATTEND_TILE_ROWS 6
#define ATTEND_PANELS    4 /* of keys, with so many rows */
#else
#define ATTEND_TILE_ROWS 2
#define ATTEND_PANELS    2
#endif

struct attend_scratch {
    float (*scores)[ATTEND_KEYS];   /* [ATTEND_ROWS] of a block */
    int16_t (*shares)[ATTEND_KEYS]; /* [ATTEND_ROWS] e^(score - greatest) */
    float (*sums)[HEAD];            /* [ATTEND_ROWS] of values times shares */
    int16_t (*query)[HEAD];         /* [ATTEND_ROWS] */
};

SIMD vi pair_at(const int16_t *p)
{
    return (vi){0} + load_word(p);
}

SIMD vi vi_load(const void *p)
{
    vi v;
    memcpy(&v, p, sizeof v);
    return v;
}

SIMD void store_16(int16_t *out, vi numbers)
{
#if LANES == 16
    _mm256_storeu_si256((__m256i_u *)out, _mm512_cvtepi32_epi16((__m512i)numbers));
#else
    __m256i packed = _mm256_packs_epi32((__m256i)numbers, (__m256i)numbers);
    packed = _mm256_permute4x64_epi64(packed, 0x08);
    _mm_storeu_si128((__m128i_u *)out, _mm256_castsi256_si128(packed));
#endif
}

/* ATTEND_SHARES 2^x for x <= 0, to 4e-6 of it. */
SIMD vf share_of(vf x)
{
    const float s = ATTEND_SHARES;
    const vf magic = vf_all(12582912.0f);
    x = vf_max(x, vf_all(-100));
    vf shifted = x + magic;
    vf r = x - (shifted - magic);
    vf p = r * (9.6181291e-3f * s) + 5.5504109e-2f * s;
    p = p * r + 2.4022651e-1f * s;
    p = p * r + 6.9314718e-1f * s;
    p = p * r + s;
    return (vf)((vi)p + ((vi)shifted << 23));
}

/* Scores of R rows with the keys of P panels, but for the scale of the query. */
SIMD void score_tile(const struct attend *a, const struct attend_scratch *s, int row,
                     int key, int at, const int R, const int P)
{
    const int n = P * PANEL_VECTORS;
    vi sum[24];
    UNROLL
    for (int i = 0; i < R * n; i++)
        sum[i] = (vi){0};
    const int16_t *keys = a->keys + (size_t)(key + at) * HEAD;
    for (int k = 0; k < HEAD; k += 2) {
        vi v[4];
        UNROLL
        for (int p = 0; p < n; p++)
            v[p] = vi_load(keys + (size_t)(p / PANEL_VECTORS) * HEAD * KERNEL_LANES +
                           k * KERNEL_LANES + p % PANEL_VECTORS * LANES * 2);
        UNROLL
        for (int r = 0; r < R; r++) {
            vi q = pair_at(&s->query[row + r][k]);
            UNROLL
            for (int p = 0; p < n; p++)
                sum[r * n + p] = vi_add_pairs(sum[r * n + p], q, v[p]);
        }
    }
    UNROLL
    for (int p = 0; p < n; p++) {
        vf scale = vf_load(a->key_scales + key + at + p * LANES);
        UNROLL
        for (int r = 0; r < R; r++)
            vf_store(&s->scores[row + r][at + p * LANES],
                     __builtin_convertvector(sum[r * n + p], vf) * scale);
    }
}

SIMD void score_rows(const struct attend *a, const struct attend_scratch *s, int row,
                     int key, int n, const int R)
{
    const int step = ATTEND_PANELS * KERNEL_LANES;
    int at = 0;
    for (; at + step <= n; at += step)
        score_tile(a, s, row, key, at, R, ATTEND_PANELS);
    for (; at < n; at += KERNEL_LANES)
        score_tile(a, s, row, key, at, R, 1);
}

/* sums[R][P panels of the head, from `panel` on] += shares times values, of n keys, an
 * even number. */
SIMD void value_tile(const struct attend *a, const struct attend_scratch *s, int row,
                     int key, int n, int panel, const int R, const int P)
{
    const int vectors = P * PANEL_VECTORS;
    vi sum[24];
    UNROLL
    for (int i = 0; i < R * vectors; i++)
        sum[i] = (vi){0};
    const int16_t *values =
        a->values + (size_t)panel * a->value_stride + (size_t)key * KERNEL_LANES;
    for (int k = 0; k < n; k += 2) {
        vi v[4];
        UNROLL
        for (int p = 0; p < vectors; p++)
            v[p] = vi_load(values + (size_t)(p / PANEL_VECTORS) * a->value_stride +
                           k * KERNEL_LANES + p % PANEL_VECTORS * LANES * 2);
        UNROLL
        for (int r = 0; r < R; r++) {
            vi share = pair_at(&s->shares[row + r][k]);
            UNROLL
            for (int p = 0; p < vectors; p++)
                sum[r * vectors + p] = vi_add_pairs(sum[r * vectors + p], share, v[p]);
        }
    }
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int p = 0; p < vectors; p++) {
            float *to = &s->sums[row + r][panel * KERNEL_LANES + p * LANES];
            vf_store(to, vf_load(to) + __builtin_convertvector(sum[r * vectors + p], vf));
        }
    }
}

SIMD void value_rows(const struct attend *a, const struct attend_scratch *s, int row,
                     int key, int n, const int R)
{
    for (int panel = 0; panel < HEAD / KERNEL_LANES; panel += ATTEND_PANELS)
        value_tile(a, s, row, key, n, panel, R, ATTEND_PANELS);
}

#define ATTEND_TILE(R)                                                                   \
    static void score_rows_##R(const struct attend *a, const struct attend_scratch *s,   \
                               int row, int key, int n)                                  \
    {                                                                                    \
        score_rows(a, s, row, key, n, R);                                                \
    }                                                                                    \
    static void value_rows_##R(const struct attend *a, const struct attend_scratch *s,   \
                               int row, int key, int n)                                  \
    {                                                                                    \
        value_rows(a, s, row, key, n, R);                                                \
    }
ATTEND_TILE(1)
ATTEND_TILE(2)
#if ATTEND_TILE_ROWS == 6
ATTEND_TILE(3)
ATTEND_TILE(4)
ATTEND_TILE(5)
ATTEND_TILE(6)
#endif

typedef void attend_tile_fn(const struct attend *a, const struct attend_scratch *s,
                            int row, int key, int n);
#if ATTEND_TILE_ROWS == 6
static attend_tile_fn *const score_tiles[] = {score_rows_1, score_rows_2, score_rows_3,
                                              score_rows_4, score_rows_5, score_rows_6};
static attend_tile_fn *const value_tiles[] = {value_rows_1, value_rows_2, value_rows_3,
                                              value_rows_4, value_rows_5, value_rows_6};
#else
static attend_tile_fn *const score_tiles[] = {score_rows_1, score_rows_2};
static attend_tile_fn *const value_tiles[] = {value_rows_1, value_rows_2};
#endif

/* What is kept of a row from block to block. */
struct attend_row {
    float scale;    /* of its query, of a head's scores and of log2 e together */
    float greatest; /* score so far */
    float total;    /* of the shares */
};

/* Scores of one row and a block of n, `seen` of which count, to shares; the sums so far
 * are brought to the new greatest. The shares that are summed are those that are used:
 * rounding takes nothing from the whole. */
static void share_row(const struct attend_scratch *s, int row, int n, int seen,
                      struct attend_row *state)
{
    float *score = s->scores[row];
    for (int i = seen; i < n; i++)
        score[i] = -INFINITY;
    vf most = vf_load(score);
    for (int i = LANES; i < n; i += LANES)
        most = vf_max(vf_load(score + i), most);
    float top = vf_greatest(most);
    if (top > state->greatest) {
        float less = exp2f((state->greatest - top) * state->scale);
        for (int p = 0; p < HEAD; p += LANES)
            vf_store(&s->sums[row][p], vf_load(&s->sums[row][p]) * less);
        state->total *= less;
        state->greatest = top;
    }
    vi sum = {0};
    float less = state->greatest * state->scale;
    for (int i = 0; i < n; i += LANES) {
        vf x = vf_load(score + i) * state->scale - less;
        vi share = vf_round(share_of(x));
        sum += share;
        store_16(&s->shares[row][i], share);
    }
    state->total += (float)vi_sum(sum);
}

/* x[HEAD] to whole numbers of at most `most`; returns what they are multiples of. */
static float whole_row(int16_t *out, const float *x, float most)
{
    vf top = vf_all(0);
    for (int i = 0; i < HEAD; i += LANES) {
        vf v = vf_load(x + i);
        top = vf_max(vf_max(v, vf_all(0) - v), top);
    }
    float greatest = vf_greatest(vf_min(top, vf_all(3e38f)));
    float inverse = greatest > 1e-30f ? most / greatest : 0;
    for (int i = 0; i < HEAD; i += LANES) {
        vf v = vf_load(x + i);
        v = vf_select(v == v, v, vf_all(0)) * inverse;
        store_16(out + i, vf_round(vf_min(vf_max(v, vf_all(-most)), vf_all(most))));
    }
    return greatest > 1e-30f ? greatest / most : 0;
}

static void attend_lanes(const struct attend *a)
{
    struct attend_scratch s = {.scores = (void *)a->scratch};
    s.sums = (void *)(a->scratch + ATTEND_ROWS * ATTEND_KEYS);
    s.shares = (void *)(s.sums + ATTEND_ROWS);
    s.query = (void *)(s.shares + ATTEND_ROWS);
    struct attend_row state[ATTEND_ROWS];
    for (int r = 0; r < a->rows; r++) {
        const float *q = a->query + (size_t)r * a->query_stride;
        float scale = whole_row(s.query[r], q, ATTEND_NUMBERS);
        memset(s.sums[r], 0, sizeof s.sums[r]);
        state[r] = (struct attend_row){scale * a->scale * 1.44269504f, -INFINITY, 0};
    }
    for (int key = 0; key < a->n_keys; key += ATTEND_KEYS) {
        int seen = a->n_keys - key < ATTEND_KEYS ? a->n_keys - key : ATTEND_KEYS;
        int n = (seen + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
        for (int row = 0; row < a->rows; row += ATTEND_TILE_ROWS) {
            int rows =
                a->rows - row < ATTEND_TILE_ROWS ? a->rows - row : ATTEND_TILE_ROWS;
            score_tiles[rows - 1](a, &s, row, key, n);
            for (int r = row; r < row + rows; r++)
                share_row(&s, r, n, seen, &state[r]);
            value_tiles[rows - 1](a, &s, row, key, n);
        }
    }
    for (int r = 0; r < a->rows; r++) {
        float *out = a->out + (size_t)r * a->out_stride;
        for (int p = 0; p < HEAD; p += LANES)
            vf_store(out + p, vf_load(&s.sums[r][p]) * vf_load(a->value_scales + p) *
                                  (1.0f / state[r].total));
    }
}

/* ---- what is attended to ------------------------------------------------------------
 */

static void attend_keys_lanes(const struct attend_store *a)
{
    for (int t = 0; t < a->rows; t++) {
        int16_t key[HEAD];
        a->key_scales[t] =
            whole_row(key, a->keys_in + (size_t)t * a->stride, ATTEND_NUMBERS);
        for (int i = 0; i < HEAD; i += 2)
            memcpy(a->keys + (size_t)i * KERNEL_LANES + 2 * t, key + i, 2 * sizeof *key);
    }
}

SIMD vi whole_values(const struct attend_store *a, int row, int at)
{
    if (row >= a->rows)
        return (vi){0};
    const vf most = vf_all(ATTEND_VALUES);
    vf v = vf_load(a->values_in + (size_t)row * a->stride + at) *
           vf_load(a->value_inverses + at);
    v = vf_select(v == v, v, vf_all(0));
    return vf_round(vf_min(vf_max(v, vf_all(0) - most), most));
}

static void attend_store_lanes(const struct attend_store *a)
{
    if (a->keys_in)
        attend_keys_lanes(a);
    for (int t = 0; t < a->rows && a->values_in; t += 2)
        for (int i = 0; i < HEAD; i += LANES) {
            vi pair = (whole_values(a, t, i) & 0xffff) |
                      (vi)((vu)whole_values(a, t + 1, i) << 16);
            int16_t *to = a->values + (size_t)(i / KERNEL_LANES) * a->value_stride +
                          (size_t)t * KERNEL_LANES + i % KERNEL_LANES * 2;
            memcpy(to, &pair, sizeof pair);
        }
}

#endif
