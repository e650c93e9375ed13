/* The places where the vector levels need an instruction by name, for 64-bit Arm: what
 * the x86 levels have in the headers of each kernel. Included before those.
 *
 *   neon     every 64-bit Arm processor
 *   dotprod  4 products of signed bytes at once (SDOT)
 *   i8mm     of positive and signed bytes (USDOT), and 2 rows by 2 outputs by 8 of them
 *            (USMMLA) */
#ifndef ENGINE_KERNELS_NEON_H
#define ENGINE_KERNELS_NEON_H

#include <arm_neon.h>

#include "engine/kernels/simd.h"

/* A number by which vectors are multiplied: the instruction takes it from the first lane,
 * and loading one lane costs less than filling all. */
SIMD vf row_value(const float *x)
{
    return (vf){*x};
}

SIMD vf multiply_add(vf a, vf b, vf c)
{
    return (vf)vfmaq_laneq_f32((float32x4_t)c, (float32x4_t)b, (float32x4_t)a, 0);
}

SIMD vf load_half(const uint16_t *p)
{
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

SIMD void store_half(uint16_t *p, vf v)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)v)));
}

SIMD vi load_16(const int16_t *p)
{
    return (vi)vmovl_s16(vld1_s16(p));
}

SIMD void store_16(int16_t *p, vi numbers)
{
    vst1_s16(p, vmovn_s32((int32x4_t)numbers));
}

#endif
