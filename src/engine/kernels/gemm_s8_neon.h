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
