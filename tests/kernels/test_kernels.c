/* Every level's kernels against the C ones, and the C ones against double precision, on
 * random shapes. The bounds are those that kernels.h states. A line of timing per matrix
 * kernel is printed for information. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/kernels/levels.h"

#include <math.h>

#define CANARY 12345.0f

#ifdef EMULATED_AMX
extern const struct kernels kernels_amx_emulated;
#endif

/* As kernels_level, and then the level that is emulated, where what it takes for the rest
 * is there. */
static const struct kernels *level_or_emulated(int index)
{
    const struct kernels *level = kernels_level(index);
#ifdef EMULATED_AMX
    if (!level && kernels_named("avx512vnni") && kernels_level(index - 1))
        return &kernels_amx_emulated;
#endif
    return level;
}

static uint64_t random_state = 88172645463325252u;

static uint32_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 24);
}

static int random_between(int least, int most)
{
    return least + (int)(random_bits() % (uint32_t)(most - least + 1));
}

static float random_float(float range)
{
    return ((float)(random_bits() & 0xffffff) / 8388608.0f - 1.0f) * range;
}

static float *random_floats(size_t n, float range)
{
    float *x = mem_aligned(n + 16, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = random_float(range);
    return x;
}

/* ---- matrix products --------------------------------------------------------------- */

struct problem {
    struct gemm g;
    float *x, *w, *bias, *y; /* owned */
    uint16_t *half;          /* owned: the same weights, which halves hold exactly */
    size_t y_floats;
};

static void problem_make(struct problem *p, int m, int k, int n, unsigned flags,
                         bool bias)
{
    size_t panels = (size_t)(n + KERNEL_LANES - 1) / KERNEL_LANES;
    size_t w_stride = ((size_t)k + (size_t)random_between(0, 3)) * KERNEL_LANES;
    size_t x_stride = (size_t)(k + random_between(0, 5));
    size_t y_stride = (size_t)(n + random_between(0, 7));
    p->x = random_floats((size_t)m * x_stride, 1);
    p->w = random_floats(panels * w_stride, 1);
    p->half = mem_aligned(panels * w_stride, sizeof *p->half);
    p->bias = random_floats((size_t)n, 1);
    p->y_floats = (size_t)m * y_stride;
    p->y = random_floats(p->y_floats, 1);
    assert_non_null(p->half);
    for (size_t i = 0; i < panels * w_stride; i++) {
        p->half[i] = half_from_float(p->w[i]);
        p->w[i] = half_to_float(p->half[i]);
    }
    p->g = (struct gemm){.x = p->x,
                         .x_stride = x_stride,
                         .w_stride = w_stride,
                         .bias = bias ? p->bias : NULL,
                         .y_stride = y_stride,
                         .m = m,
                         .k = k,
                         .n = n,
                         .flags = flags};
    for (int r = 0; r < m; r++) /* between the rows nothing may be written */
        for (size_t i = (size_t)n; i < y_stride; i++)
            p->y[(size_t)r * y_stride + i] = CANARY;
}

static void problem_free(struct problem *p)
{
    free(p->x);
    free(p->w);
    free(p->half);
    free(p->bias);
    free(p->y);
}

/* A fresh y, computed; owned by the caller. */
static float *solve(const struct problem *p, const struct kernels *k, bool half)
{
    float *y = mem_aligned(p->y_floats + 16, sizeof *y);
    assert_non_null(y);
    memcpy(y, p->y, p->y_floats * sizeof *y);
    for (int i = 0; i < 16; i++)
        y[p->y_floats + (size_t)i] = CANARY;
    struct gemm g = p->g;
    g.y = y;
    g.w = half ? (const void *)p->half : (const void *)p->w;
    (half ? k->gemm_f16 : k->gemm_f32)(&g);
    for (int i = 0; i < 16; i++)
        assert_true(y[p->y_floats + (size_t)i] == CANARY);
    return y;
}

static double gelu_exact(double x)
{
    return 0.5 * x * (1 + erf(x * M_SQRT1_2));
}

/* One output in double precision, and the sum of magnitudes that bounds its error. */
static double exact(const struct problem *p, int row, int column, double *magnitude)
{
    const float *x = p->x + (size_t)row * p->g.x_stride;
    const float *w =
        p->w + (size_t)(column / KERNEL_LANES) * p->g.w_stride + column % KERNEL_LANES;
    double sum = p->g.bias ? (double)p->bias[column] : 0;
    *magnitude = fabs(sum);
    for (int k = 0; k < p->g.k; k++) {
        double term = (double)x[k] * (double)w[(size_t)k * KERNEL_LANES];
        sum += term;
        *magnitude += fabs(term);
    }
    if (p->g.flags & GEMM_ADD)
        sum += (double)p->y[(size_t)row * p->g.y_stride + (size_t)column];
    return p->g.flags & GEMM_GELU ? gelu_exact(sum) : sum;
}

static void check_exact(const struct problem *p, const float *y)
{
    for (int r = 0; r < p->g.m; r++) {
        const float *row = y + (size_t)r * p->g.y_stride;
        for (int i = 0; i < p->g.n; i++) {
            double magnitude, wanted = exact(p, r, i, &magnitude);
            double d = fabs((double)row[i] - wanted);
            if (!(d <= 1e-6 * magnitude + 2e-6))
                fail_msg("m %d k %d n %d flags %u: y[%d][%d] is %g, not %g", p->g.m,
                         p->g.k, p->g.n, p->g.flags, r, i, (double)row[i], wanted);
        }
        for (size_t i = (size_t)p->g.n; i < p->g.y_stride; i++)
            assert_true(row[i] == CANARY);
    }
}

static void check_shape(int m, int k, int n)
{
    static const unsigned flags[] = {0, GEMM_ADD, GEMM_GELU};
    struct problem p;
    problem_make(&p, m, k, n, flags[random_bits() % 3], random_bits() & 1);
    const struct kernels *level;
    for (int i = 0; (level = kernels_level(i)); i++) {
        float *y = solve(&p, level, false), *half = solve(&p, level, true);
        check_exact(&p, y);
        /* Widening is exact and the order of the sum the same. */
        assert_memory_equal(y, half, p.y_floats * sizeof *y);
        free(y);
        free(half);
    }
    problem_free(&p);
}

static void gemm_is_right(void **state)
{
    (void)state;
    for (int m = 1; m <= 26; m++)
        for (int i = 0; i < 5; i++)
            check_shape(m, random_between(1, 200), random_between(1, 200));
    for (int n = 1; n <= 33; n++)
        check_shape(random_between(1, 13), random_between(1, 40), n);
    check_shape(61, 1000, 17);
    check_shape(3, 5120, 160);
    check_shape(1, 1, 1);
}

/* A row alone gives the same bits as among others. */
static void gemm_rows_are_independent(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int i = 0; (level = kernels_level(i)); i++)
        for (int m = 2; m <= 25; m++) {
            struct problem p;
            problem_make(&p, m, random_between(1, 100), random_between(1, 150),
                         m % 2 ? GEMM_ADD : GEMM_GELU, true);
            float *all = solve(&p, level, true);
            int row = random_between(0, m - 1);
            size_t at = (size_t)row * p.g.y_stride;
            struct problem one = p;
            one.g.x += (size_t)row * p.g.x_stride;
            one.g.m = 1;
            one.y = p.y + at;
            one.y_floats = (size_t)p.g.n;
            float *alone = solve(&one, level, true);
            assert_memory_equal(all + at, alone, (size_t)p.g.n * sizeof *all);
            free(all);
            free(alone);
            problem_free(&p);
        }
}

/* ---- products in 8 bits ------------------------------------------------------------ */

struct problem_s8 {
    float *x, *bias, *y, *w_scales; /* owned */
    uint8_t *w;                     /* owned */
    int8_t *numbers;                /* owned [n][k]: the weights, row after row */
    size_t x_stride, y_stride;
    int m, k, n;
    unsigned flags;
};

/* Numbers of any size within 8 bits; `extreme`: only the greatest, where sums would
 * overflow if they could. */
static void make_s8(struct problem_s8 *p, int m, int k, int n, unsigned flags,
                    bool extreme)
{
    size_t panels = (size_t)(n + KERNEL_LANES - 1) / KERNEL_LANES;
    size_t panel = ((size_t)k + 3) / 4 * 64;
    *p = (struct problem_s8){.m = m, .k = k, .n = n, .flags = flags};
    p->x_stride = (size_t)(k + random_between(0, 5));
    p->y_stride = (size_t)(n + random_between(0, 7));
    p->x = random_floats((size_t)m * p->x_stride, extreme ? 0 : 3);
    for (size_t i = 0; extreme && i < (size_t)m * p->x_stride; i++)
        p->x[i] = random_bits() & 1 ? 1 : -1;
    p->bias = random_floats((size_t)n, 1);
    p->w_scales = random_floats(panels * KERNEL_LANES, 1);
    p->y = random_floats((size_t)m * p->y_stride, 1);
    p->w = mem_aligned(panels, panel);
    p->numbers = mem_aligned((size_t)n, (size_t)k);
    assert_true(p->w && p->numbers);
    memset(p->w, 128, panels * panel);
    for (int r = 0; r < n; r++)
        for (int c = 0; c < k; c++) {
            int number = extreme ? 127 : random_between(-127, 127);
            p->numbers[(size_t)r * (size_t)k + (size_t)c] = (int8_t)number;
            p->w[(size_t)(r / 16) * panel + (size_t)(c / 4) * 64 +
                 (size_t)(r % 16 * 4 + c % 4)] = (uint8_t)(128 + number);
        }
}

static void free_s8(struct problem_s8 *p)
{
    free(p->x);
    free(p->bias);
    free(p->y);
    free(p->w_scales);
    free(p->w);
    free(p->numbers);
}

/* What quantise is to give, by its definition. */
static void exact_numbers(const float *x, int k, float most_number, int16_t *numbers,
                          float *scale, int32_t *sum)
{
    float most = 0;
    *sum = 0;
    for (int i = 0; i < k; i++)
        most = fmaxf(most, fabsf(x[i]));
    *scale = most > 1e-30f ? most / most_number : 0;
    for (int i = 0; i < k; i++) {
        numbers[i] = (int16_t)(most > 1e-30f ? rintf(x[i] * (most_number / most)) : 0);
        *sum += 128 * numbers[i];
    }
}

/* One level's y over the problem; owned by the caller. Scales and sums are checked. */
static float *solve_s8(const struct problem_s8 *p, const struct kernels *level, bool fine)
{
    size_t n_y = (size_t)p->m * p->y_stride, stride = QUANTISED_BYTES(p->k) + 64;
    size_t panel = ((size_t)p->k + 3) / 4 * 64;
    float *y = mem_aligned(n_y + 1, sizeof *y);
    float most = fine ? quantised_most((size_t)p->k) : 127;
    uint8_t *codes = mem_aligned((size_t)p->m + 1, stride);
    float *scales = mem_aligned((size_t)p->m, sizeof *scales);
    int32_t *sums = mem_aligned((size_t)p->m, sizeof *sums);
    int16_t *numbers = mem_aligned((size_t)p->k, sizeof *numbers);
    assert_true(y && codes && scales && sums && numbers);
    memcpy(y, p->y, n_y * sizeof *y);
    y[n_y] = CANARY;
    for (int r = 0; r < p->m; r++) {
        const float *x = p->x + (size_t)r * p->x_stride;
        float scale;
        int32_t sum;
        uint8_t *row = codes + (size_t)r * stride;
        memset(row, 0x5a, stride);
        (fine ? level->quantise_16 : level->quantise_8)(x, (size_t)p->k, most, row,
                                                        &scales[r], &sums[r]);
        for (size_t i = QUANTISED_BYTES(p->k); i < stride; i++)
            assert_int_equal(row[i], 0x5a); /* no more than said */
        exact_numbers(x, p->k, most, numbers, &scale, &sum);
        assert_true(scale == scales[r]);
        assert_int_equal(sum, sums[r]);
    }
    const struct gemm_s8 g = {codes, scales,      sums,    stride,  p->w,
                              panel, p->w_scales, p->bias, y,       p->y_stride,
                              p->m,  p->k,        p->n,    p->flags};
    (fine ? level->gemm_s8_16 : level->gemm_s8)(&g);
    assert_true(y[n_y] == CANARY);
    free(codes);
    free(scales);
    free(sums);
    free(numbers);
    return y;
}

/* The sum of whole numbers is exact; what follows are a few roundings. */
static void check_s8(const struct problem_s8 *p, const float *y, bool fine)
{
    float most = fine ? quantised_most((size_t)p->k) : 127;
    int16_t *numbers = mem_aligned((size_t)p->k, sizeof *numbers);
    assert_non_null(numbers);
    for (int r = 0; r < p->m; r++) {
        float scale;
        int32_t ignored;
        exact_numbers(p->x + (size_t)r * p->x_stride, p->k, most, numbers, &scale,
                      &ignored);
        for (size_t i = 0; i < p->y_stride; i++) {
            float given = y[(size_t)r * p->y_stride + i];
            float before = p->y[(size_t)r * p->y_stride + i];
            if (i >= (size_t)p->n) { /* between the rows nothing is written */
                assert_true(given == before);
                continue;
            }
            int64_t sum = 0;
            for (int c = 0; c < p->k; c++)
                sum += numbers[c] * p->numbers[i * (size_t)p->k + (size_t)c];
            double wanted = (double)sum * (double)p->w_scales[i] * (double)scale;
            double magnitude = fabs(wanted) + fabs((double)p->bias[i]) + 1;
            wanted += (double)p->bias[i];
            if (p->flags & GEMM_ADD)
                wanted += (double)before;
            if (p->flags & GEMM_GELU)
                wanted = gelu_exact(wanted);
            if (!(fabs((double)given - wanted) <= 1e-6 * magnitude))
                fail_msg("m %d k %d n %d: y[%d][%zu] is %g, not %g", p->m, p->k, p->n, r,
                         i, (double)given, wanted);
        }
    }
    free(numbers);
}

static void try_s8(int m, int k, int n, bool extreme)
{
    static const unsigned flags[] = {0, GEMM_ADD, GEMM_GELU};
    struct problem_s8 p;
    make_s8(&p, m, k, n, flags[random_bits() % 3], extreme);
    const struct kernels *level;
    for (int i = 0; (level = level_or_emulated(i)); i++) {
        for (int fine = 0; fine < 2; fine++) {
            float *y = solve_s8(&p, level, fine);
            check_s8(&p, y, fine);
            free(y);
        }
    }
    free_s8(&p);
}

static void gemm_s8_is_right(void **state)
{
    (void)state;
    for (int m = 1; m <= 26; m++)
        for (int i = 0; i < 3; i++)
            try_s8(m, random_between(1, 200), random_between(1, 300), false);
    for (int n = 1; n <= 33; n++)
        try_s8(random_between(1, 13), random_between(1, 40), n, false);
    for (int k = 1; k <= 70; k++)
        try_s8(random_between(1, 3), k, random_between(1, 40), k % 2);
    try_s8(3, 5120, 33, true);
    try_s8(13, 5120, 16, true);
}

/* Where nothing is rounded but the scales, all levels give the same bits. */
static void sums_in_8_bits_are_exact(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        struct problem_s8 p;
        make_s8(&p, random_between(1, 50), random_between(1, 300), random_between(1, 90),
                0, i % 4 == 0);
        memset(p.bias, 0, (size_t)p.n * sizeof *p.bias);
        const struct kernels *level;
        for (int fine = 0; fine < 2; fine++) {
            float *wanted = solve_s8(&p, kernels_level(0), fine);
            for (int l = 1; (level = level_or_emulated(l)); l++) {
                float *y = solve_s8(&p, level, fine);
                assert_memory_equal(y, wanted, (size_t)p.m * p.y_stride * sizeof *wanted);
                free(y);
            }
            free(wanted);
        }
        free_s8(&p);
    }
}

/* A row alone gives the same bits as among others, in 8 bits too. */
static void rows_in_8_bits_are_independent(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int i = 0; (level = level_or_emulated(i)); i++)
        for (int m = 2; m <= 70; m++) {
            struct problem_s8 p;
            make_s8(&p, m, random_between(1, 150), random_between(1, 150),
                    m % 2 ? GEMM_ADD : GEMM_GELU, false);
            for (int fine = 0; fine < 2; fine++) {
                float *all = solve_s8(&p, level, fine);
                size_t row = (size_t)random_between(0, m - 1);
                struct problem_s8 one = p;
                one.x += row * p.x_stride;
                one.y += row * p.y_stride;
                one.m = 1;
                float *alone = solve_s8(&one, level, fine);
                assert_memory_equal(all + row * p.y_stride, alone,
                                    (size_t)p.n * sizeof *all);
                free(all);
                free(alone);
            }
            free_s8(&p);
        }
}

static void wrong_gemm_s8(const struct gemm_s8 *g)
{
    struct gemm_s8 part = *g; /* the last row is forgotten */
    part.m--;
    kernels_level(0)->gemm_s8(&part);
    g->y[(size_t)part.m * g->y_stride] = 0;
}

/* A level that was never on its hardware is asked whether it agrees with another. */
static void wrong_levels_are_noticed(void **state)
{
    (void)state;
    const struct kernels *c = kernels_level(0);
    struct kernels wrong = *c;
    wrong.gemm_s8 = wrong_gemm_s8;
    assert_true(kernels_agree(c, c));
    assert_true(!kernels_agree(c, &wrong));
#ifdef EMULATED_AMX
    const struct kernels *vnni = kernels_named("avx512vnni");
    assert_true(!vnni || (kernels_agree(&kernels_amx_emulated, vnni) &&
                          kernels_agree(c, &kernels_amx_emulated)));
#endif
}

static void what_is_no_number_is_quantised(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int i = 0; (level = kernels_level(i)); i++)
        for (size_t at = 0; at < 40; at += 13) {
            float x[40], scale;
            int32_t sum;
            uint8_t out[QUANTISED_BYTES(40)];
            for (size_t j = 0; j < 40; j++)
                x[j] = 1;
            x[at] = NAN;
            level->quantise_8(x, 40, 127, out, &scale, &sum);
            assert_true(scale == 1.0f / 127);
            assert_int_equal(sum, 128 * 127 * 39);
            x[at] = -INFINITY;
            level->quantise_8(x, 40, 127, out, &scale, &sum);
            assert_int_equal(sum, 128 * -127);
            memset(x, 0, sizeof x);
            level->quantise_8(x, 40, 127, out, &scale, &sum);
            assert_true(scale == 0 && sum == 0);
        }
}

/* ---- attention ----------------------------------------------------------------------
 */

struct scene {
    float *query, *keys, *values; /* owned [rows], [n_keys], [n_keys] of STRIDE */
    int rows, n_keys;
};

enum { STRIDE = ATTEND_HEAD + 8 };

static void exact_attention(const struct scene *s, int row, double *out)
{
    double *p = mem_array((size_t)s->n_keys, sizeof *p), most = -INFINITY, sum = 0;
    assert_non_null(p);
    for (int t = 0; t < s->n_keys; t++) {
        for (int i = 0; i < ATTEND_HEAD; i++)
            p[t] += (double)s->query[row * STRIDE + i] * (double)s->keys[t * STRIDE + i];
        p[t] *= 0.125;
        most = fmax(most, p[t]);
    }
    for (int t = 0; t < s->n_keys; t++)
        sum += p[t] = exp(p[t] - most);
    for (int i = 0; i < ATTEND_HEAD; i++) {
        out[i] = 0;
        for (int t = 0; t < s->n_keys; t++)
            out[i] += p[t] / sum * (double)s->values[t * STRIDE + i];
    }
    free(p);
}

/* What is attended to, as a level keeps it. */
struct kept {
    int16_t *keys, *values; /* owned */
    float *key_scales;      /* owned */
    float value_scales[ATTEND_HEAD];
    size_t value_stride;
};

static void keep(const struct scene *s, const struct kernels *level, struct kept *k)
{
    size_t positions = (size_t)(s->n_keys + 31) / 32 * 32;
    float most[ATTEND_HEAD] = {0}, inverses[ATTEND_HEAD];
    k->keys = mem_aligned(positions * ATTEND_HEAD, sizeof *k->keys);
    k->values = mem_aligned(positions * ATTEND_HEAD, sizeof *k->values);
    k->key_scales = mem_aligned(positions, sizeof *k->key_scales);
    assert_true(k->keys && k->values && k->key_scales);
    k->value_stride = positions * 16;
    for (int t = 0; t < s->n_keys; t++)
        level->greatest(most, s->values + (size_t)t * STRIDE, ATTEND_HEAD);
    for (int i = 0; i < ATTEND_HEAD; i++) {
        k->value_scales[i] = most[i] / ATTEND_VALUES;
        inverses[i] = most[i] > 0 ? ATTEND_VALUES / most[i] : 0;
    }
    for (int t = 0; t < s->n_keys; t += 16) {
        const struct attend_store a = {
            .keys_in = s->keys + (size_t)t * STRIDE,
            .values_in = s->values + (size_t)t * STRIDE,
            .stride = STRIDE,
            .value_inverses = inverses,
            .keys = k->keys + (size_t)t * ATTEND_HEAD,
            .values = k->values + (size_t)t * 16,
            .key_scales = k->key_scales + t,
            .value_stride = k->value_stride,
            .rows = s->n_keys - t < 16 ? s->n_keys - t : 16,
        };
        struct attend_store keys = a, values = a; /* in two parts, too */
        keys.values_in = NULL;
        values.keys_in = NULL;
        if (t % 32 == 0) {
            level->attend_store(&a);
            continue;
        }
        level->attend_store(&values);
        level->attend_store(&keys);
    }
}

static void check_attention(const struct scene *s, const struct kernels *level,
                            double greatest)
{
    struct kept k = {0};
    float out[ATTEND_ROWS * STRIDE], alone[STRIDE];
    float *scratch = mem_aligned(ATTEND_SCRATCH, sizeof *scratch);
    assert_non_null(scratch);
    keep(s, level, &k);
    struct attend a = {s->query,       STRIDE,         k.keys, k.values, k.key_scales,
                       k.value_scales, k.value_stride, out,    STRIDE,   s->rows,
                       s->n_keys,      0.125f,         scratch};
    for (size_t i = 0; i < ARRAY_LENGTH(out); i++)
        out[i] = CANARY;
    level->attend(&a);
    for (int r = 0; r < s->rows; r++) {
        double wanted[ATTEND_HEAD];
        exact_attention(s, r, wanted);
        for (int i = 0; i < ATTEND_HEAD; i++) {
            double d = fabs((double)out[r * STRIDE + i] - wanted[i]);
            if (!(d <= 25e-4 * greatest))
                fail_msg("%s, %d rows, %d keys: row %d is off by %g", level->name,
                         s->rows, s->n_keys, r, d);
        }
        for (int i = ATTEND_HEAD; i < STRIDE; i++)
            assert_true(out[r * STRIDE + i] == CANARY);
    }
    a.query += (ptrdiff_t)(s->rows - 1) * STRIDE; /* a row alone: the same bits */
    a.out = alone;
    a.rows = 1;
    level->attend(&a);
    assert_memory_equal(alone, out + (ptrdiff_t)(s->rows - 1) * STRIDE,
                        ATTEND_HEAD * sizeof *alone);
    memcpy(alone, a.query, ATTEND_HEAD * sizeof *alone); /* in place of the query */
    a.query = alone;
    level->attend(&a);
    assert_memory_equal(alone, out + (ptrdiff_t)(s->rows - 1) * STRIDE,
                        ATTEND_HEAD * sizeof *alone);
    free(k.keys);
    free(k.values);
    free(k.key_scales);
    free(scratch);
}

/* ---- odds ---------------------------------------------------------------------------
 */

static void odds_are_right(void **state)
{
    (void)state;
    for (size_t n = 1; n < 400; n = n < 70 ? n + 1 : n + 37) {
        float *x = random_floats(n, 30), most = x[0];
        for (size_t i = 0; i < n; i++) {
            if (random_between(0, 9) == 0)
                x[i] = random_between(0, 1) ? -INFINITY : NAN;
            most = !(most >= x[i]) && x[i] == x[i] ? x[i] : most;
        }
        x[random_between(0, (int)n - 1)] = most = 31;
        double sum = 0;
        const struct kernels *level;
        for (size_t i = 0; i < n; i++)
            sum += x[i] == x[i] ? exp(((double)x[i] - 31) * 0.5) : 0;
        for (int l = 0; (level = kernels_level(l)); l++) {
            assert_true(level->most(x, n) == most);
            assert_true(fabs(level->exp_sum(x, n, most, 0.5f) - sum) <= 1e-5 * sum);
        }
        for (size_t i = 0; i < n; i++)
            x[i] = -INFINITY;
        for (int l = 0; (level = kernels_level(l)); l++)
            assert_true(level->most(x, n) == -INFINITY);
        free(x);
    }
}

static void lstm_is_right(void **state)
{
    (void)state;
    for (size_t n = 16; n <= 128; n += 16) {
        float *gates = random_floats(4 * n, 12), *before = random_floats(n, 3);
        float *cell = random_floats(n, 1), *hidden = random_floats(n, 1);
        gates[0] = 200;
        gates[n] = gates[2 * n + 1] = -200;
        const struct kernels *level;
        for (int l = 0; (level = kernels_level(l)); l++) {
            memcpy(cell, before, n * sizeof *cell);
            cell[n] = hidden[n] = CANARY;
            level->lstm(hidden, cell, gates, n);
            assert_true(cell[n] == CANARY && hidden[n] == CANARY);
            for (size_t i = 0; i < n; i++) {
                double input = 1 / (1 + exp(-(double)gates[i]));
                double forget = 1 / (1 + exp(-(double)gates[n + i]));
                double output = 1 / (1 + exp(-(double)gates[3 * n + i]));
                double wanted =
                    forget * (double)before[i] + input * tanh((double)gates[2 * n + i]);
                assert_true(fabs((double)cell[i] - wanted) <= 1e-6);
                assert_true(fabs((double)hidden[i] - output * tanh(wanted)) <= 1e-6);
            }
        }
        free(gates);
        free(before);
        free(cell);
        free(hidden);
    }
}

/* ---- keys and values in bytes ------------------------------------------------------
 */

#define MOST_HEAD 80

/* What a level writes, and how far it writes. */
struct kept_bytes {
    uint8_t keys[MOST_HEAD * 16 + 1], values[MOST_HEAD * 16 + MOST_HEAD / 16 * 64 + 1];
    float key_scales[17], value_scales[17];
};

static void keep_bytes(const struct kernels *level, const float *keys,
                       const float *values, int rows, int size, struct kept_bytes *out)
{
    memset(out, 0x5a, sizeof *out);
    const struct store_bytes a = {
        .keys_in = keys,
        .values_in = values,
        .stride = MOST_HEAD + 3,
        .keys = out->keys,
        .values = out->values,
        .value_stride = (size_t)16 * 16 + 64, /* another panel is not next to it */
        .key_scales = out->key_scales,
        .value_scales = out->value_scales,
        .rows = rows,
        .head_size = size,
    };
    level->store_bytes(&a);
}

/* The C level against the definition. */
static void check_bytes(const struct kept_bytes *k, const float *keys,
                        const float *values, int rows, int size)
{
    for (int t = 0; t < 16; t++)
        for (int i = 0; i < size; i++) {
            uint8_t key = k->keys[i / 4 * 64 + t * 4 + i % 4];
            uint8_t value = k->values[i / 16 * 320 + t / 4 * 64 + i % 16 * 4 + t % 4];
            float x = keys[t * (MOST_HEAD + 3) + i], y = values[t * (MOST_HEAD + 3) + i];
            if (t >= rows || !isfinite(x) || !isfinite(y)) {
                if (t >= rows)
                    assert_true(key == 128 && value == 128 && k->key_scales[t] == 0 &&
                                k->value_scales[t] == 0);
                continue;
            }
            double near = 0.5001;
            assert_true(fabs((double)x - (key - 128) * (double)k->key_scales[t]) <=
                        near * (double)k->key_scales[t] + 1e-30);
            assert_true(fabs((double)y - (value - 128) * (double)k->value_scales[t]) <=
                        near * (double)k->value_scales[t] + 1e-30);
        }
}

static void bytes_are_equal(void **state)
{
    (void)state;
    static const float extremes[] = {0, 1e-38f, 3e38f, -3e38f, INFINITY, NAN, 127, -127};
    static const int sizes[] = {16, 32, 64, MOST_HEAD};
    float keys[16 * (MOST_HEAD + 3)], values[16 * (MOST_HEAD + 3)];
    for (int round = 0; round < 64; round++) {
        int rows = random_between(1, 16), size = sizes[round % 4];
        for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
            keys[i] = random_float((float)(1 << random_between(0, 10)));
            values[i] = round < 4 ? 0 : random_float(2);
            if (round % 3 == 0 && random_between(0, 40) == 0)
                keys[i] = extremes[random_between(0, 7)];
        }
        struct kept_bytes wanted, got;
        const struct kernels *level;
        keep_bytes(kernels_level(0), keys, values, rows, size, &wanted);
        check_bytes(&wanted, keys, values, rows, size);
        for (int l = 1; (level = kernels_level(l)); l++) {
            keep_bytes(level, keys, values, rows, size, &got);
            assert_memory_equal(&got, &wanted, sizeof got);
        }
    }
}

static void attention_is_right(void **state)
{
    (void)state;
    static const int lengths[] = {1, 2, 15, 16, 17, 33, 255, 256, 257, 511, 1500};
    const struct kernels *level;
    for (int l = 0; (level = kernels_level(l)); l++)
        for (int i = 0; level->attend && i < (int)ARRAY_LENGTH(lengths); i++) {
            struct scene s = {.rows = random_between(1, ATTEND_ROWS),
                              .n_keys = lengths[i]};
            /* From nearly even to nearly one place alone. */
            float range = i % 3 == 0 ? 0.3f : i % 3 == 1 ? 1.5f : 4.0f;
            s.query = random_floats((size_t)s.rows * STRIDE, range);
            s.keys = random_floats((size_t)s.n_keys * STRIDE, range);
            s.values = random_floats((size_t)s.n_keys * STRIDE, 2);
            check_attention(&s, level, 2);
            free(s.query);
            free(s.keys);
            free(s.values);
        }
}

/* ---- rows -------------------------------------------------------------------------- */

static void gelu_is_right(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int i = 0; (level = kernels_level(i)); i++)
        for (size_t n = 1; n < 70; n++) {
            float *x = random_floats(n, n % 3 ? 6 : 60), *y = random_floats(n, 1);
            memcpy(y, x, n * sizeof *x);
            y[n] = CANARY;
            level->gelu(y, n);
            assert_true(y[n] == CANARY);
            for (size_t j = 0; j < n; j++) {
                double d = fabs((double)y[j] - gelu_exact((double)x[j]));
                assert_true(d <= 1e-6 * fmax(1, fabs((double)x[j])));
            }
            free(x);
            free(y);
        }
}

static void softmax_is_right(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int i = 0; (level = kernels_level(i)); i++)
        for (size_t n = 1; n < 1600; n += n < 70 ? 1 : 101) {
            float *x = random_floats(n, n % 5 ? 20 : 2000), *y = random_floats(n, 1);
            memcpy(y, x, n * sizeof *x);
            y[n] = CANARY;
            level->softmax(y, n, 0.125f);
            assert_true(y[n] == CANARY);
            double most = -INFINITY, sum = 0;
            for (size_t j = 0; j < n; j++)
                most = fmax(most, (double)x[j]);
            for (size_t j = 0; j < n; j++)
                sum += exp(((double)x[j] - most) / 8);
            for (size_t j = 0; j < n; j++) {
                double wanted = exp(((double)x[j] - most) / 8) / sum;
                assert_true(fabs((double)y[j] - wanted) <= 1e-6);
            }
            free(x);
            free(y);
        }
}

static void check_layer_norm(const struct kernels *k, size_t n)
{
    float *x = random_floats(n, 10), *gain = random_floats(n, 2);
    float *bias = random_floats(n, 1), *y = random_floats(n, 1);
    y[n] = CANARY;
    k->layer_norm(y, x, gain, bias, n);
    assert_true(y[n] == CANARY);
    double mean = 0, variance = 0;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++) {
        double v = ((double)x[i] - mean) / sqrt(variance + 1e-5);
        double wanted = v * (double)gain[i] + (double)bias[i];
        /* Numbers close together: what rounds in their mean, which is below 10. */
        double close = 2 * 0x1p-24 * 10 / sqrt(variance + 1e-5);
        double bound =
            (2e-6 * fmax(1, fabs(v)) + close) * fmax(1, fabs((double)gain[i])) +
            1e-6 * fabs((double)bias[i]);
        assert_true(fabs((double)y[i] - wanted) <= bound);
    }
    k->layer_norm(x, x, gain, bias, n); /* in place */
    assert_memory_equal(x, y, n * sizeof *x);
    free(x);
    free(gain);
    free(bias);
    free(y);
}

static void layer_norm_is_right(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int i = 0; (level = kernels_level(i)); i++)
        for (size_t n = 2; n < 1300; n += n < 70 ? 1 : 61)
            check_layer_norm(level, n);
}

/* All halves there are, forth and back. */
static void halves_are_exact(void **state)
{
    (void)state;
    static uint16_t all[65536 + 3], back[65536 + 3];
    static float wide[65536 + 3];
    const size_t n = ARRAY_LENGTH(all);
    for (size_t i = 0; i < n; i++)
        all[i] = (uint16_t)i;
    const struct kernels *level;
    for (int l = 0; (level = kernels_level(l)); l++) {
        level->widen(wide, all, n);
        level->narrow(back, wide, n);
        for (size_t i = 0; i < n; i++) {
            float wanted = half_to_float(all[i]);
            if (isnan(wanted)) {
                assert_true(isnan(wide[i]));
                continue;
            }
            assert_memory_equal(&wide[i], &wanted, sizeof wanted);
            assert_int_equal(back[i], all[i]);
        }
    }
}

static void narrow_rounds_to_even(void **state)
{
    (void)state;
    static const struct {
        float value;
        uint16_t half;
    } cases[] = {
        {1.0f, 0x3c00},
        {1.00048828125f, 0x3c00}, /* half way, to even */
        {1.00146484375f, 0x3c02},
        {65504, 0x7bff},
        {65519.996f, 0x7bff},
        {65520, 0x7c00},
        {-INFINITY, 0xfc00},
        {0x1p-24f, 1},
        {0x1p-25f, 0},
        {0x1.8p-25f, 1},
        {-0.0f, 0x8000},
        {0x1.ff8p-15f, 0x03ff},
        {0x1.ffcp-15f, 0x0400},
    };
    const struct kernels *level;
    for (int l = 0; (level = kernels_level(l)); l++)
        for (size_t i = 0; i < ARRAY_LENGTH(cases) * 16; i++) {
            float in[17]; /* each case in a vector and in the tail */
            uint16_t out[17];
            size_t at = i % ARRAY_LENGTH(cases);
            for (size_t j = 0; j < 17; j++)
                in[j] = cases[at].value;
            level->narrow(out, in, 17);
            assert_int_equal(out[0], cases[at].half);
            assert_int_equal(out[16], cases[at].half);
        }
    static float in[4096];
    static uint16_t a[4096], b[4096];
    for (size_t i = 0; i < 4096; i++) {
        uint32_t bits = random_bits() << 8 | (random_bits() & 0xff);
        memcpy(&in[i], &bits, 4);
        in[i] = isnan(in[i]) ? 0 : in[i];
    }
    kernels_level(0)->narrow(a, in, 4096);
    for (int l = 1; (level = kernels_level(l)); l++) {
        level->narrow(b, in, 4096);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void log10_is_right(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int l = 0; (level = kernels_level(l)); l++)
        for (size_t n = 1; n < 200; n++) {
            float *x = random_floats(n, 1), *y = random_floats(n, 1);
            for (size_t i = 0; i < n; i++)
                x[i] = exp2f(random_float(40));
            x[0] = n % 4 == 0 ? NAN : n % 4 == 1 ? 0 : n % 4 == 2 ? -1 : INFINITY;
            memcpy(y, x, n * sizeof *x);
            y[n] = CANARY;
            level->log10(y, n, 1e-10f);
            assert_true(y[n] == CANARY);
            for (size_t i = 0; i < n; i++) {
                double v = x[i] > 1e-10f ? fmin((double)x[i], 3e38) : 1e-10;
                double wanted = log10(v);
                assert_true(fabs((double)y[i] - wanted) <= 2e-6 * fmax(1, fabs(wanted)));
            }
            free(x);
            free(y);
        }
}

/* ---- spectra ----------------------------------------------------------------------- */

/* The transform by its definition, in double precision. */
static void exact_power(const float *frames, int lane, double *power, double *energy)
{
    double x[SPECTRUM_SAMPLES];
    *energy = 0;
    for (int i = 0; i < SPECTRUM_SAMPLES; i++) {
        double hann = 0.5 - 0.5 * cos(2 * M_PI * i / SPECTRUM_SAMPLES);
        x[i] = (double)frames[i * KERNEL_LANES + lane] * hann;
        *energy += x[i] * x[i];
    }
    for (int k = 0; k < SPECTRUM_BINS; k++) {
        double re = 0, im = 0;
        for (int i = 0; i < SPECTRUM_SAMPLES; i++) {
            double angle = 2 * M_PI * (k * i % SPECTRUM_SAMPLES) / SPECTRUM_SAMPLES;
            re += x[i] * cos(angle);
            im -= x[i] * sin(angle);
        }
        power[k] = re * re + im * im;
    }
}

static void spectrum_is_right(void **state)
{
    (void)state;
    struct spectrum_tables t;
    spectrum_tables_init(&t);
    float *frames = random_floats(SPECTRUM_SAMPLES * KERNEL_LANES, 1);
    for (int i = 0; i < SPECTRUM_SAMPLES; i++) { /* lane 1: a tone; lane 2: silence */
        frames[i * KERNEL_LANES + 1] = sinf(0.37f * (float)i);
        frames[i * KERNEL_LANES + 2] = 0;
    }
    float *power = random_floats(SPECTRUM_BINS * KERNEL_LANES, 1);
    float *scratch = random_floats(SPECTRUM_SCRATCH, 1);
    static double wanted[KERNEL_LANES][SPECTRUM_BINS], energy[KERNEL_LANES];
    for (int lane = 0; lane < KERNEL_LANES; lane++)
        exact_power(frames, lane, wanted[lane], &energy[lane]);
    const struct kernels *level;
    for (int l = 0; (level = kernels_level(l)); l++) {
        level->spectrum(&t, frames, power, scratch);
        for (int i = 0; i < SPECTRUM_BINS * KERNEL_LANES; i++) {
            int lane = i % KERNEL_LANES, bin = i / KERNEL_LANES;
            double d = fabs((double)power[i] - wanted[lane][bin]);
            /* Relative to the frame's greatest bin, and so to its energy times 400. */
            assert_true(d <= 2e-6 * energy[lane] * SPECTRUM_SAMPLES / 4);
        }
    }
    free(frames);
    free(power);
    free(scratch);
}

static void filter_is_right(void **state)
{
    (void)state;
    float *power = random_floats(SPECTRUM_BINS * KERNEL_LANES, 1);
    float *weights = random_floats(SPECTRUM_BINS, 1);
    const struct kernels *level;
    for (int l = 0; (level = kernels_level(l)); l++)
        for (size_t bins = 0; bins <= SPECTRUM_BINS; bins += 3) {
            float out[KERNEL_LANES];
            level->filter(out, weights, power, bins);
            for (int lane = 0; lane < KERNEL_LANES; lane++) {
                double wanted = 0;
                for (size_t i = 0; i < bins; i++)
                    wanted += (double)weights[i] *
                              (double)power[i * KERNEL_LANES + (size_t)lane];
                assert_true(fabs((double)out[lane] - wanted) <= 1e-5);
            }
        }
    free(power);
    free(weights);
}

/* ---- choosing ---------------------------------------------------------------------- */

static void a_level_can_be_forced(void **state)
{
    (void)state;
    const struct kernels *level, *best = NULL;
    for (int l = 0; (level = kernels_level(l)); l++) {
        assert_ptr_equal(kernels_named(level->name), level);
        setenv("WT_CPU_LEVEL", level->name, 1);
        assert_ptr_equal(kernels_choose(), level);
        best = level;
    }
    assert_string_equal(kernels_level(0)->name, "c");
    const char *expected = getenv("WT_TEST_BEST_LEVEL");
    if (expected)
        assert_string_equal(best->name, expected);
    assert_null(kernels_named("mmx"));
    /* What is unknown, of another processor, or beyond this one is not forced. */
    static const char *const names[] = {"mmx", "avx2", "avxvnni", "avx512", "avx512vnni",
                                        "amx", "neon", "dotprod", "i8mm"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (!kernels_named(names[i])) {
            setenv("WT_CPU_LEVEL", names[i], 1);
            assert_ptr_equal(kernels_choose(), best);
        }
    unsetenv("WT_CPU_LEVEL");
    assert_ptr_equal(kernels_choose(), best);
}

/* ---- timing, for information ------------------------------------------------------- */

static void print_speed(const struct kernels *k, int m, int columns, int n, bool half)
{
    struct problem p;
    problem_make(&p, m, columns, n, 0, false);
    struct gemm g = p.g;
    g.y = p.y;
    g.w = half ? (const void *)p.half : (const void *)p.w;
    int64_t best = INT64_MAX;
    for (int i = 0; i < 3; i++) {
        int64_t start = clock_monotonic_ns();
        (half ? k->gemm_f16 : k->gemm_f32)(&g);
        int64_t took = clock_monotonic_ns() - start;
        best = took < best ? took : best;
    }
    double operations = 2.0 * m * columns * n;
    print_message("    %-6s %s  m %3d  k %4d  n %4d  %6.1f GFLOP/s\n", k->name,
                  half ? "f16" : "f32", m, columns, n, operations / (double)(best + 1));
    problem_free(&p);
}

static void timings(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int l = 0; (level = kernels_level(l)); l++)
        for (int half = 0; half < 2; half++) {
            print_speed(level, 120, 384, 128, half);
            print_speed(level, 8, 384, 512, half);
            print_speed(level, 1, 384, 512, half);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_is_right),
        cmocka_unit_test(gemm_rows_are_independent),
        cmocka_unit_test(gemm_s8_is_right),
        cmocka_unit_test(what_is_no_number_is_quantised),
        cmocka_unit_test(bytes_are_equal),
        cmocka_unit_test(lstm_is_right),
        cmocka_unit_test(odds_are_right),
        cmocka_unit_test(attention_is_right),
        cmocka_unit_test(gelu_is_right),
        cmocka_unit_test(softmax_is_right),
        cmocka_unit_test(layer_norm_is_right),
        cmocka_unit_test(halves_are_exact),
        cmocka_unit_test(narrow_rounds_to_even),
        cmocka_unit_test(log10_is_right),
        cmocka_unit_test(spectrum_is_right),
        cmocka_unit_test(filter_is_right),
        cmocka_unit_test(sums_in_8_bits_are_exact),
        cmocka_unit_test(wrong_levels_are_noticed),
        cmocka_unit_test(rows_in_8_bits_are_independent),
        cmocka_unit_test(a_level_can_be_forced),
        cmocka_unit_test(timings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
