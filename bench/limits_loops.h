/* Loops that only multiply and sum, for limits.c. */
#ifndef BENCH_LIMITS_LOOPS_H
#define BENCH_LIMITS_LOOPS_H

#include <stddef.h>
#include <stdint.h>

struct limits_loop {
    const char *name; /* f32, s8, s16 (whole numbers of so many bits), bf16 */
    void (*run)(int64_t rounds);
    double operations; /* of one round: products and sums */
};

#define LIMITS_LOOPS 4

/* The fastest exact ways to multiply at a level of the engine's kernels, and in bf16
 * where the processor can. Returns how many of LIMITS_LOOPS were written. */
size_t limits_loops(struct limits_loop *out, const char *level);

/* Read all of it once; a multiple of 256 bytes, 64-byte aligned. */
void limits_read(const char *memory, size_t bytes);

#endif
