/* The power spectra of 16 frames at once, one frame per lane, for every level: what a
 * level adds is the width of its vectors.
 *
 * 400 real samples are 200 complex ones (even samples real, odd ones imaginary); a
 * self-sorting (Stockham) transform of 200 = 4 * 2 * 5 * 5 in four passes between two
 * buffers; then the real spectrum is untangled. */
#ifndef ENGINE_KERNELS_SPECTRUM_H
#define ENGINE_KERNELS_SPECTRUM_H

#include "engine/kernels/simd.h"

struct cx {
    vf re, im;
};

SIMD struct cx cx_add(struct cx a, struct cx b)
{
    return (struct cx){a.re + b.re, a.im + b.im};
}

SIMD struct cx cx_sub(struct cx a, struct cx b)
{
    return (struct cx){a.re - b.re, a.im - b.im};
}

/* a * (c - i s) */
SIMD struct cx cx_turn(struct cx a, float c, float s)
{
    return (struct cx){a.re * c + a.im * s, a.im * c - a.re * s};
}

/* -i a */
SIMD struct cx cx_minus_i(struct cx a)
{
    return (struct cx){a.im, -a.re};
}

/* A buffer of 200 complex numbers of 16 lanes, of which this code sees LANES. */
SIMD struct cx cx_load(const float *b, int i)
{
    return (struct cx){vf_load(b + i * 32), vf_load(b + i * 32 + 16)};
}

SIMD void cx_store(float *b, int i, struct cx v)
{
    vf_store(b + i * 32, v.re);
    vf_store(b + i * 32 + 16, v.im);
}

SIMD void butterfly2(struct cx *a)
{
    struct cx sum = cx_add(a[0], a[1]);
    a[1] = cx_sub(a[0], a[1]);
    a[0] = sum;
}

SIMD void butterfly4(struct cx *a)
{
    struct cx s02 = cx_add(a[0], a[2]), d02 = cx_sub(a[0], a[2]);
    struct cx s13 = cx_add(a[1], a[3]), d13 = cx_minus_i(cx_sub(a[1], a[3]));
    a[0] = cx_add(s02, s13);
    a[1] = cx_add(d02, d13);
    a[2] = cx_sub(s02, s13);
    a[3] = cx_sub(d02, d13);
}

SIMD struct cx cx_scale(struct cx a, float f)
{
    return (struct cx){a.re * f, a.im * f};
}

SIMD void butterfly5(struct cx *a)
{
    const float c1 = 0.309016994f, c2 = -0.809016994f; /* cos of 2 pi / 5, 4 pi / 5 */
    const float s1 = 0.951056516f, s2 = 0.587785252f;
    struct cx p1 = cx_add(a[1], a[4]), m1 = cx_minus_i(cx_sub(a[1], a[4]));
    struct cx p2 = cx_add(a[2], a[3]), m2 = cx_minus_i(cx_sub(a[2], a[3]));
    struct cx e1 = cx_add(a[0], cx_add(cx_scale(p1, c1), cx_scale(p2, c2)));
    struct cx e2 = cx_add(a[0], cx_add(cx_scale(p1, c2), cx_scale(p2, c1)));
    struct cx o1 = cx_add(cx_scale(m1, s1), cx_scale(m2, s2));
    struct cx o2 = cx_sub(cx_scale(m1, s2), cx_scale(m2, s1));
    a[0] = cx_add(a[0], cx_add(p1, p2));
    a[1] = cx_add(e1, o1);
    a[2] = cx_add(e2, o2);
    a[3] = cx_sub(e2, o2);
    a[4] = cx_sub(e1, o1);
}

/* One pass: sub-transforms of length n, s of them interleaved, are reduced by `radix`. */
SIMD void spectrum_pass(const struct spectrum_tables *t, int radix, int n, int s,
                        const float *x, float *y)
{
    int m = n / radix;
    for (int p = 0; p < m; p++)
        for (int q = 0; q < s; q++) {
            struct cx a[5];
            for (int i = 0; i < radix; i++)
                a[i] = cx_load(x, q + s * (p + i * m));
            if (radix == 2)
                butterfly2(a);
            else if (radix == 4)
                butterfly4(a);
            else
                butterfly5(a);
            for (int j = 0; j < radix; j++) {
                int turn = j * p * s; /* of 200: s = 200 / n */
                if (turn)
                    a[j] = cx_turn(a[j], t->cos200[turn], t->sin200[turn]);
                cx_store(y, q + s * (radix * p + j), a[j]);
            }
        }
}

/* Power of bins k and 200 - k from the packed transform, k = 0 … 100. */
SIMD void spectrum_untangle(const struct spectrum_tables *t, const float *z, float *power,
                            int k)
{
    struct cx a = cx_load(z, k), b = cx_load(z, k ? 200 - k : 0);
    struct cx even = {(a.re + b.re) * 0.5f, (a.im - b.im) * 0.5f};
    struct cx odd = {(a.im + b.im) * 0.5f, (b.re - a.re) * 0.5f};
    odd = cx_turn(odd, t->cos400[k], t->sin400[k]);
    struct cx low = cx_add(even, odd), high = cx_sub(even, odd);
    vf_store(power + k * 16, low.re * low.re + low.im * low.im);
    vf_store(power + (200 - k) * 16, high.re * high.re + high.im * high.im);
}

static void spectrum_lanes(const struct spectrum_tables *t, const float *frames,
                           float *power, float *scratch)
{
    float *a = scratch, *b = scratch + 2 * 200 * KERNEL_LANES;
    for (int lane = 0; lane < KERNEL_LANES; lane += LANES) {
        for (int i = 0; i < 200; i++) {
            struct cx v = {vf_load(frames + 32 * i + lane) * t->window[2 * i],
                           vf_load(frames + 32 * i + 16 + lane) * t->window[2 * i + 1]};
            cx_store(a, i, v);
        }
        spectrum_pass(t, 4, 200, 1, a, b);
        spectrum_pass(t, 2, 50, 4, b, a);
        spectrum_pass(t, 5, 25, 8, a, b);
        spectrum_pass(t, 5, 5, 40, b, a);
        for (int k = 0; k <= 100; k++)
            spectrum_untangle(t, a, power + lane, k);
    }
}

static void filter_lanes(float *out, const float *weights, const float *power,
                         size_t bins)
{
    for (int lane = 0; lane < KERNEL_LANES; lane += LANES) {
        vf sum = vf_all(0);
        for (size_t i = 0; i < bins; i++)
            sum += weights[i] * vf_load(power + i * KERNEL_LANES + lane);
        vf_store(out + lane, sum);
    }
}

#endif
