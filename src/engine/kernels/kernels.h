/* The arithmetic, once per instruction set.
 *
 * A struct of function pointers, filled for one level and chosen at run time. The C level
 * is the oracle: every other level is compared with it on random shapes
 * (tests/kernels). Bounds, with y the C result:
 *
 *   gemm        |difference| <= 1e-6 * sum over k of |x[k] w[k]|, plus 1e-6: the order of
 *               the sum is the same at all levels (k ascending, one accumulator), only
 *               fused multiplication differs. Within one level an output does not depend
 *               on m, n or the type that the weight is stored in: a sequence gets the
 *               same numbers alone and in a batch.
 *   gelu        <= 1e-6 * max(1, |x|)
 *   softmax     <= 1e-6
 *   most        equal; exp_sum: 1e-5 of it
 *   layer_norm  <= 2e-6 * max(1, |y|) times the gain
 *   lstm        1e-6, of cells up to some tens
 *   log10       <= 2e-6 * max(1, |y|)
 *   spectrum    <= 2e-6 times the frame's energy, of the exact transform
 *   widen       equal; narrow: equal (round to nearest even)
 *   quantise    equal, rounded to nearest even
 *   gemm_s8     sums of integers, which are equal whatever their order; then two
 *               roundings of the scales and one of the bias
 *   attend      25e-4 times the greatest value, of scores up to some hundreds
 *
 * Weights lie in panels of 16 outputs (engine/model.h). Attention uses the same layout
 * for keys and values, so that one matrix kernel serves everything. */
#ifndef ENGINE_KERNELS_KERNELS_H
#define ENGINE_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define KERNEL_LANES     16 /* outputs of a panel; frames that the spectrum takes at once */

#define SPECTRUM_SAMPLES 400
#define SPECTRUM_BINS    201

/* y[m][n] = x[m][k] Wᵀ + bias, then what the flags say. */
enum gemm_flags {
    GEMM_ADD = 1,  /* y += that: the residual */
    GEMM_GELU = 2, /* y = gelu(that); not together with GEMM_ADD */
};

struct gemm {
    const float *x;    /* [m][x_stride], k of each row used; rows may overlap */
    size_t x_stride;   /* floats from row to row */
    const void *w;     /* panels of float (gemm_f32) or IEEE half (gemm_f16), 64-byte
                        * aligned; the last panel is whole even where n is not */
    size_t w_stride;   /* elements from panel to panel */
    const float *bias; /* [n], or NULL */
    float *y;          /* [m][y_stride], n of each row written */
    size_t y_stride;
    int m, k, n;
    unsigned flags;
};

/* y[m][n] = x[m][k] Wᵀ + bias in 8 bits with 32-bit sums, then what the flags say. Rows
 * of x have a scale each, from `quantise`; outputs have one each. Weights w are stored as
 * w + 128, which is positive, as the processor's instruction wants it: `sums` of the rows
 * take it out again, exactly. */
struct gemm_s8 {
    const void *x;         /* [m][x_stride], as the quantise_ of this gemm_ wrote them */
    const float *x_scales; /* [m] */
    const int32_t *x_sums; /* [m] */
    size_t x_stride;       /* bytes, see QUANTISED_BYTES */
    const uint8_t *w;      /* panels [(k + 3) / 4][16][4], 64-byte aligned; the last panel
                            * is whole even where n is not; 128 stands for nothing */
    size_t w_stride;       /* bytes from panel to panel */
    const float *w_scales; /* [n, up to a whole panel] */
    const float *bias;     /* [n], or NULL */
    float *y;              /* [m][y_stride], n of each row written */
    size_t y_stride;
    int m, k, n;
    unsigned flags;
};

/* A row of k numbers takes at most so many bytes, at every level: a multiple of 64. */
#define QUANTISED_BYTES(k) (((size_t)(k)*2 + 63) / 64 * 64)

/* The greatest number in 16 bits whose k products with weights, which are at most 255,
 * cannot overflow. */
static inline float quantised_most(size_t k)
{
    uint32_t most = (uint32_t)INT32_MAX / 255u / ((uint32_t)k + 4u);
    return most < 16383 ? (float)most : 16383.0f;
}

/* Softmax attention of one head in whole numbers of 16 bits: some rows of queries over
 * the same keys, which all of them see. Neighbours that are multiplied together lie side
 * by side:
 *
 *   keys   [positions / 16][ATTEND_HEAD / 2][16][2]      times a scale for each position
 *   values [ATTEND_HEAD / 16][positions / 2][16][2]      times a scale for each column
 *
 * Positions from `n_keys` to the next multiple of 16 hold numbers. That is the layout of
 * the x86 levels; only attend and attend_store of the same level read and write it, and
 * those of Arm lay them otherwise (attend_float.h). */
struct attend {
    const float *query; /* [rows][query_stride], ATTEND_HEAD of each row used */
    size_t query_stride;
    const int16_t *keys, *values; /* 64-byte aligned */
    const float *key_scales;      /* [positions] */
    const float *value_scales;    /* [ATTEND_HEAD] */
    size_t value_stride;          /* elements from panel to panel */
    float *out; /* [rows][out_stride], ATTEND_HEAD of each written; may be the query */
    size_t out_stride;
    int rows;       /* 1 … ATTEND_ROWS */
    int n_keys;     /* at least 1 */
    float scale;    /* of the products, before the softmax */
    float *scratch; /* ATTEND_SCRATCH floats, 64-byte aligned */
};
#define ATTEND_HEAD    64 /* columns of a head: those of every published model */
#define ATTEND_ROWS    24
#define ATTEND_KEYS    256 /* taken together */
#define ATTEND_SCRATCH (ATTEND_ROWS * (ATTEND_KEYS + ATTEND_KEYS / 2 + 64 + 32))

/* The greatest numbers. Sums of 64 products of the first, and of 256 of the second with
 * the third, stay below 2^31. */
#define ATTEND_NUMBERS 5700.0f /* of queries and keys */
#define ATTEND_SHARES  4095.0f /* of the softmax, whose greatest is 1 */
#define ATTEND_VALUES  2047.0f

/* Keys and values of some positions of one head, which begin with a panel. */
struct attend_store {
    const float *keys_in, *values_in; /* [rows][stride], ATTEND_HEAD of each used; NULL:
                                       * not stored now */
    size_t stride;
    const float *value_inverses; /* [ATTEND_HEAD]: ATTEND_VALUES / greatest, or 0 */
    int16_t *keys, *values;      /* where the positions begin */
    float *key_scales;           /* [rows] */
    size_t value_stride;
    int rows; /* 1 … 16 */
};

/* Keys and values of some positions of one head in bytes, which begin with a panel, as
 * gemm_s8_16 takes its weights: keys are outputs, times a scale for each; values are
 * columns, and their scales belong to what they are multiplied with. All 16 positions of
 * the panel are written: those from `rows` on are nothing, with scales of 0. */
struct store_bytes {
    const float *keys_in, *values_in; /* [rows][stride], head_size of each used */
    size_t stride;
    uint8_t *keys;   /* [head_size / 4][16][4] */
    uint8_t *values; /* [head_size / 16] panels, of each [4][16][4] */
    size_t value_stride;
    float *key_scales, *value_scales; /* [16] */
    int rows;                         /* 1 … 16 */
    int head_size;                    /* a multiple of 16 */
};

/* Tables of the real transform of 400 samples. */
struct spectrum_tables {
    float window[SPECTRUM_SAMPLES]; /* periodic Hann */
    float cos200[200], sin200[200]; /* of 2 pi i / 200 */
    float cos400[101], sin400[101]; /* of 2 pi i / 400 */
};

/* Scratch of `spectrum`, per thread, 64-byte aligned. */
#define SPECTRUM_SCRATCH (4 * 200 * KERNEL_LANES)

struct kernels {
    const char *name; /* "c"; "avx2", "avxvnni", "avx512", "avx512vnni", "amx";
                       * "neon", "dotprod", "i8mm" */

    void (*gemm_f32)(const struct gemm *g);
    void (*gemm_f16)(const struct gemm *g);

    /* The same in whole numbers, x of 8 bits and of 16. */
    void (*gemm_s8)(const struct gemm_s8 *g);
    void (*gemm_s8_16)(const struct gemm_s8 *g);
    /* x[k] to whole numbers of -most … most (127; quantised_most) and what they are
     * multiples of. They are written as this level's gemm_ reads them, with zeros up to
     * QUANTISED_BYTES(k); *sum receives 128 times their sum. What is no number counts as
     * 0. */
    void (*quantise_8)(const float *x, size_t k, float most, void *out, float *scale,
                       int32_t *sum);
    void (*quantise_16)(const float *x, size_t k, float most, void *out, float *scale,
                        int32_t *sum);

    void (*store_bytes)(const struct store_bytes *a);

    /* NULL at the C level. */
    void (*attend)(const struct attend *a);
    void (*attend_store)(const struct attend_store *a);
    /* most[i] = max(most[i], |x[i]|). */
    void (*greatest)(float *most, const float *x, size_t n);

    /* x = gelu(x), with the error function, not its tanh approximation. */
    void (*gelu)(float *x, size_t n);
    /* x = softmax(scale * x), n >= 1. */
    void (*softmax)(float *x, size_t n, float scale);
    /* The greatest of x, which is minus infinity where there is no number; and the sum of
     * e^((x - most) * scale), for x <= most, in which what is below -87 counts as if it
     * were that: 1e-38. n may be 0. */
    float (*most)(const float *x, size_t n);
    double (*exp_sum)(const float *x, size_t n, float most, float scale);
    /* y = (x - mean) / sqrt(variance + 1e-5) * gain + bias; y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *gain, const float *bias,
                       size_t n);
    /* gates [4][n]: input, forget, candidate, output, before their functions; n is a
     * multiple of 16. */
    void (*lstm)(float *hidden, float *cell, const float *gates, size_t n);
    void (*widen)(float *out, const uint16_t *half, size_t n);
    void (*narrow)(uint16_t *half, const float *in, size_t n);

    /* x = log10(max(x, floor)); what is not a number counts as the floor, > 0. */
    void (*log10)(float *x, size_t n, float floor);
    /* Power spectra of 16 frames at once, one per lane: frames [400][16] unwindowed,
     * power [201][16]. */
    void (*spectrum)(const struct spectrum_tables *t, const float *frames, float *power,
                     float *scratch);
    /* out[16] = sum over bins of weights[bin] * power[bin][16]. */
    void (*filter)(float *out, const float *weights, const float *power, size_t bins);
};

/* The best level of this processor and operating system, or a lower one when the
 * environment variable WT_CPU_LEVEL (a name as above) asks for it. What cannot run here
 * is lowered, with a warning in the log. */
const struct kernels *kernels_choose(void);

/* A level by name, or NULL when it is unknown, not built in, or cannot run here. */
const struct kernels *kernels_named(const char *name);

/* Levels from the lowest to the highest that can run here: index 0 … until NULL. */
const struct kernels *kernels_level(int index);

void spectrum_tables_init(struct spectrum_tables *t);

/* One element, for look-ups outside the kernels. */
float half_to_float(uint16_t half);
uint16_t half_from_float(float value);

#endif
