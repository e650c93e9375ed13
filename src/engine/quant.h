/* The number formats that weights come in, and the way from each to f32.
 *
 * The quantised types are those of ggml: blocks of 32 values along a row, each with an
 * IEEE half scale d (and, for the _1 types, an offset m). A block is read byte by byte,
 * so it may lie at any address. */
#ifndef ENGINE_QUANT_H
#define ENGINE_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tensor_type {
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_Q4_0, /* d * (q - 8), q of 4 bits */
    TENSOR_Q4_1, /* d * q + m */
    TENSOR_Q5_0, /* d * (q - 16), q of 5 bits */
    TENSOR_Q5_1, /* d * q + m */
    TENSOR_Q8_0, /* d * q, q signed of 8 bits */
    TENSOR_TYPES
};

#define QUANT_BLOCK 32 /* values per quantised block */

/* "f32", "q5_1" …; a string literal. */
const char *quant_name(enum tensor_type type);

/* Bytes of a row of n values; false when n is no whole number of blocks, or overflows. */
bool quant_row_bytes(enum tensor_type type, size_t n, size_t *out)
    __attribute__((warn_unused_result));

/* n values of any type at any address into out[n]. n is a whole number of blocks. */
void quant_to_f32(enum tensor_type type, const uint8_t *bytes, size_t n, float *out);

/* IEEE half and bfloat16; exact towards f32, rounded to nearest even towards 16 bits. */
float f16_to_f32(uint16_t half);
uint16_t f32_to_f16(float value);
float bf16_to_f32(uint16_t value);

/* Whether none of the values is an infinity or a NaN. */
bool f32_all_finite(const float *values, size_t n);
bool f16_all_finite(const uint16_t *values, size_t n);

#endif
