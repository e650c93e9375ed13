/* What gemm_s8.h needs to know of 64-bit Arm. Included by it, once for each S8_BYTES.
 *
 * Without dot products, bytes are multiplied to 16 bits and 16-bit numbers to 32, and a
 * vector of sums is two: of outputs 0 and 1, and of 2 and 3, each in two parts. With them
 * a number of 16 bits is 128 times a signed byte plus one of 0 … 127, and there are sums
 * of each.
 *
 * USDOT takes weights as they are stored, 128 too great; all else takes them less 128,
 * and then there is nothing to take out of the sums. */

#if defined(__ARM_FEATURE_DOTPROD)
typedef uint8x16_t S8(s8_weights);

SIMD S8(s8_weights) S8(s8_load)(const uint8_t *w)
{
#if defined(__ARM_FEATURE_MATMUL_INT8)
    return vld1q_u8(w);
#else
    return veorq_u8(vld1q_u8(w), vdupq_n_u8(128));
#endif
}

#undef S8_DOT
#undef S8_OUT
/* sum + 4 products of each weight with the bytes in lane `lane` of x. */
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define S8_DOT(sum, w, x, lane)                                                          \
    (vi) vusdotq_lane_s32((int32x4_t)(sum), w, vreinterpret_s8_s32(x), lane)
#define S8_OUT(x_sum) (x_sum)
#else
#define S8_OUT(x_sum) ((void)(x_sum), 0)
#define S8_DOT(sum, w, x, lane)                                                          \
    (vi) vdotq_lane_s32((int32x4_t)(sum), vreinterpretq_s8_u8(w),                        \
                        vreinterpret_s8_s32(x), lane)
#endif
#endif

#if defined(__ARM_FEATURE_DOTPROD) && S8_BYTES == 1
typedef vi S8(s8_sum);
typedef int32x2_t S8(s8_inputs);

SIMD S8(s8_inputs) S8(s8_row)(const char *x, size_t k4)
{
    return vset_lane_s32(load_word(x + 4 * k4), vdup_n_s32(0), 0);
}

SIMD S8(s8_sum) S8(s8_add)(S8(s8_sum) sum, S8(s8_weights) w, S8(s8_inputs) x)
{
    return S8_DOT(sum, w, x, 0);
}

SIMD S8(s8_sum) S8(s8_begin)(int32_t x_sum)
{
    return (vi){0} - S8_OUT(x_sum);
}

SIMD vi S8(s8_total)(S8(s8_sum) sum)
{
    return sum;
}
#elif defined(__ARM_FEATURE_DOTPROD)
typedef struct {
    vi high, low;
} S8(s8_sum);
typedef int32x2_t S8(s8_inputs);

SIMD S8(s8_inputs) S8(s8_row)(const char *x, size_t k4)
{
    int32x2_t v;
    memcpy(&v, x + 8 * k4, sizeof v);
    return v;
}

SIMD S8(s8_sum) S8(s8_add)(S8(s8_sum) sum, S8(s8_weights) w, S8(s8_inputs) x)
{
    sum.high = S8_DOT(sum.high, w, x, 0);
    sum.low = S8_DOT(sum.low, w, x, 1);
    return sum;
}

SIMD S8(s8_sum) S8(s8_begin)(int32_t x_sum)
{
    return (S8(s8_sum)){{0}, (vi){0} - S8_OUT(x_sum)};
}

SIMD vi S8(s8_total)(S8(s8_sum) sum)
{
    return (vi)(((vu)sum.high << 7) + (vu)sum.low);
}
#else
typedef struct {
    vi first, second;
} S8(s8_sum);

SIMD S8(s8_sum) S8(s8_begin)(int32_t x_sum)
{
    (void)x_sum;
    return (S8(s8_sum)){{0}, {0}};
}

SIMD vi S8(s8_total)(S8(s8_sum) sum)
{
    return (vi)vpaddq_s32((int32x4_t)sum.first, (int32x4_t)sum.second);
}
#if S8_BYTES == 1
typedef int8x16_t S8(s8_weights);
typedef int8x16_t S8(s8_inputs);

SIMD S8(s8_weights) S8(s8_load)(const uint8_t *w)
{
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w), vdupq_n_u8(128)));
}

SIMD S8(s8_inputs) S8(s8_row)(const char *x, size_t k4)
{
    return vreinterpretq_s8_s32(vdupq_n_s32(load_word(x + 4 * k4)));
}

SIMD S8(s8_sum) S8(s8_add)(S8(s8_sum) sum, S8(s8_weights) w, S8(s8_inputs) x)
{
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    int16x8_t high = vmull_high_s8(w, x);
    sum.first = (vi)vpadalq_s16((int32x4_t)sum.first, low);
    sum.second = (vi)vpadalq_s16((int32x4_t)sum.second, high);
    return sum;
}
#else
/* Bytes 0 and 2 of each 4, and bytes 1 and 3. */
typedef struct {
    int16x8_t even, odd;
} S8(s8_weights);
typedef S8(s8_weights) S8(s8_inputs);

SIMD S8(s8_weights) S8(s8_load)(const uint8_t *w)
{
    int16x8_t v = vreinterpretq_s16_u8(veorq_u8(vld1q_u8(w), vdupq_n_u8(128)));
    return (S8(s8_weights)){vshrq_n_s16(vshlq_n_s16(v, 8), 8), vshrq_n_s16(v, 8)};
}

SIMD S8(s8_inputs) S8(s8_row)(const char *x, size_t k4)
{
    return (S8(s8_inputs)){vreinterpretq_s16_s32(vdupq_n_s32(load_word(x + 8 * k4))),
                           vreinterpretq_s16_s32(vdupq_n_s32(load_word(x + 8 * k4 + 4)))};
}

SIMD S8(s8_sum) S8(s8_add)(S8(s8_sum) sum, S8(s8_weights) w, S8(s8_inputs) x)
{
    int32x4_t first = (int32x4_t)sum.first, second = (int32x4_t)sum.second;
    first = vmlal_s16(first, vget_low_s16(w.even), vget_low_s16(x.even));
    second = vmlal_high_s16(second, w.even, x.even);
    first = vmlal_s16(first, vget_low_s16(w.odd), vget_low_s16(x.odd));
    second = vmlal_high_s16(second, w.odd, x.odd);
    return (S8(s8_sum)){(vi)first, (vi)second};
}
#endif
#endif

SIMD void S8(s8_store)(char *out, vi numbers)
{
#if S8_BYTES == 1
    int16x4_t n = vmovn_s32((int32x4_t)numbers);
    int32_t word = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(n, n))), 0);
    memcpy(out, &word, sizeof word);
#elif defined(__ARM_FEATURE_DOTPROD)
    int16x4_t high = vmovn_s32((int32x4_t)(numbers >> 7));
    int16x4_t low = vmovn_s32((int32x4_t)(numbers & 127));
    vst1_s8((int8_t *)out, vmovn_s16(vcombine_s16(high, low)));
#else
    int16x4_t n = vmovn_s32((int32x4_t)numbers);
    int32x2_t even = vreinterpret_s32_s16(vuzp1_s16(n, n));
    int32x2_t odd = vreinterpret_s32_s16(vuzp2_s16(n, n));
    int32x2_t both = vzip1_s32(even, odd);
    memcpy(out, &both, sizeof both);
#endif
}

#if defined(__ARM_FEATURE_MATMUL_INT8) && S8_BYTES == 1
/* Rows in pairs, 8 columns at a time: the weights of 2 outputs and 8 columns, which lie
 * in two places, are brought together once for all rows, and then one instruction makes
 * 32 products, of 2 rows with 2 outputs. For 4 rows or more that is less work than USDOT.
 */
SIMD void S8(s8_pair_add)(const struct gemm_s8 *g, const char *x, const uint8_t *w,
                          bool both, int32x4_t *part, const int R)
{
    int8x16_t a[3];
    UNROLL
    for (int r = 0; r < R; r += 2) {
        int8x8_t first, second;
        memcpy(&first, x + (size_t)r * g->x_stride, sizeof first);
        memcpy(&second, x + (size_t)(r + 1) * g->x_stride, sizeof second);
        a[r / 2] = vcombine_s8(first, second);
    }
    UNROLL
    for (int i = 0; i < S8_VECTORS; i++) {
        uint32x4_t v = vreinterpretq_u32_u8(vld1q_u8(w + i * 16));
        uint32x4_t next =
            both ? vreinterpretq_u32_u8(vld1q_u8(w + 64 + i * 16)) : vdupq_n_u32(0);
        uint8x16_t low = vreinterpretq_u8_u32(vzip1q_u32(v, next));
        uint8x16_t high = vreinterpretq_u8_u32(vzip2q_u32(v, next));
        UNROLL
        for (int r = 0; r < R / 2; r++) {
            int32x4_t *to = part + (r * S8_VECTORS + i) * 2;
            to[0] = vusmmlaq_s32(to[0], low, a[r]);
            to[1] = vusmmlaq_s32(to[1], high, a[r]);
        }
    }
}

SIMD void S8(s8_pair_sums)(const struct gemm_s8 *g, int row, int column, vi *sum,
                           const int R)
{
    const char *x = (const char *)g->x + (size_t)row * g->x_stride;
    const uint8_t *w = g->w + (size_t)(column / KERNEL_LANES) * g->w_stride;
    size_t end = ((size_t)g->k + 3) / 4, k4 = 0;
    int32x4_t part[24];
    UNROLL
    for (int i = 0; i < R * S8_VECTORS; i++)
        part[i] = vdupq_n_s32(0);
    for (; k4 + 2 <= end; k4 += 2)
        S8(s8_pair_add)(g, x + 4 * k4, w + 64 * k4, true, part, R);
    if (k4 < end)
        S8(s8_pair_add)(g, x + 4 * k4, w + 64 * k4, false, part, R);
    UNROLL
    for (int r = 0; r < R; r++) {
        UNROLL
        for (int i = 0; i < S8_VECTORS; i++) {
            const int32x4_t *from = part + (r / 2 * S8_VECTORS + i) * 2;
            int32x4_t v =
                r % 2 ? vuzp2q_s32(from[0], from[1]) : vuzp1q_s32(from[0], from[1]);
            sum[r * S8_VECTORS + i] = (vi)v - g->x_sums[row + r];
        }
    }
}
#endif
