#include "engine/quant.h"

#include "base/mem.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "model files are little-endian, and so must the processor be"
#endif

static const struct {
    const char *name;
    size_t block_values, block_bytes;
} types[TENSOR_TYPES] = {
    [TENSOR_F32] = {"f32", 1, 4},
    [TENSOR_F16] = {"f16", 1, 2},
    [TENSOR_BF16] = {"bf16", 1, 2},
    [TENSOR_Q4_0] = {"q4_0", QUANT_BLOCK, 2 + 16},
    [TENSOR_Q4_1] = {"q4_1", QUANT_BLOCK, 4 + 16},
    [TENSOR_Q5_0] = {"q5_0", QUANT_BLOCK, 2 + 4 + 16},
    [TENSOR_Q5_1] = {"q5_1", QUANT_BLOCK, 4 + 4 + 16},
    [TENSOR_Q8_0] = {"q8_0", QUANT_BLOCK, 2 + 32},
};

const char *quant_name(enum tensor_type type)
{
    return types[type].name;
}

bool quant_row_bytes(enum tensor_type type, size_t n, size_t *out)
{
    if (n % types[type].block_values != 0)
        return false;
    return size_mul(n / types[type].block_values, types[type].block_bytes, out);
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 0x1F;
    uint32_t fraction = half & 0x3FF;
    if (exponent == 0x1F)
        return float_of_bits(sign | 0x7F800000 | fraction << 13);
    if (exponent != 0)
        return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    /* Zero or subnormal: fraction * 2^-24 is exact in f32. */
    float magnitude = (float)fraction * 0x1p-24F;
    return float_of_bits(sign | bits_of_float(magnitude));
}

uint16_t f32_to_f16(float value)
{
    uint32_t bits = bits_of_float(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000)
        return sign | 0x7E00; /* NaN */
    if (magnitude >= 0x477FF000)
        return sign | 0x7C00; /* rounds to infinity */
    if (magnitude < 0x38800000) {
        /* Subnormal half: adding 0.5 leaves the value, rounded to a multiple of 2^-24, in
         * the last bits of the sum. */
        float sum = float_of_bits(magnitude) + 0.5F;
        return sign | (uint16_t)(bits_of_float(sum) - bits_of_float(0.5F));
    }
    magnitude -= 112u << 23;
    return sign | (uint16_t)((magnitude + 0xFFF + (magnitude >> 13 & 1)) >> 13);
}

float bf16_to_f32(uint16_t value)
{
    return float_of_bits((uint32_t)value << 16);
}

static uint16_t load_u16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static void unpack_q4(const uint8_t *nibbles, float d, float offset, float *out)
{
    for (int i = 0; i < QUANT_BLOCK / 2; i++) {
        out[i] = d * (float)(nibbles[i] & 0x0F) + offset;
        out[i + QUANT_BLOCK / 2] = d * (float)(nibbles[i] >> 4) + offset;
    }
}

/* The fifth bits of the 32 values are one little-endian word before the nibbles. */
static void unpack_q5(const uint8_t *bytes, float d, float offset, float *out)
{
    uint32_t high;
    memcpy(&high, bytes, sizeof high);
    const uint8_t *nibbles = bytes + sizeof high;
    for (int i = 0; i < QUANT_BLOCK / 2; i++) {
        uint32_t low_high = high >> i & 1, top_high = high >> (i + QUANT_BLOCK / 2) & 1;
        out[i] = d * (float)((nibbles[i] & 0x0F) | low_high << 4) + offset;
        out[i + QUANT_BLOCK / 2] =
            d * (float)((nibbles[i] >> 4) | top_high << 4) + offset;
    }
}

static void unpack_q8(const uint8_t *bytes, float d, float *out)
{
    for (int i = 0; i < QUANT_BLOCK; i++)
        out[i] = d * (float)(int8_t)bytes[i];
}

static void unpack_block(enum tensor_type type, const uint8_t *block, float *out)
{
    float d = f16_to_f32(load_u16(block));
    switch (type) {
    case TENSOR_Q4_0:
        unpack_q4(block + 2, d, -8 * d, out);
        break;
    case TENSOR_Q4_1:
        unpack_q4(block + 4, d, f16_to_f32(load_u16(block + 2)), out);
        break;
    case TENSOR_Q5_0:
        unpack_q5(block + 2, d, -16 * d, out);
        break;
    case TENSOR_Q5_1:
        unpack_q5(block + 4, d, f16_to_f32(load_u16(block + 2)), out);
        break;
    default:
        unpack_q8(block + 2, d, out);
        break;
    }
}

void quant_to_f32(enum tensor_type type, const uint8_t *bytes, size_t n, float *out)
{
    size_t block_bytes = types[type].block_bytes;
    switch (type) {
    case TENSOR_F32:
        memcpy(out, bytes, n * sizeof *out);
        break;
    case TENSOR_F16:
        for (size_t i = 0; i < n; i++)
            out[i] = f16_to_f32(load_u16(bytes + 2 * i));
        break;
    case TENSOR_BF16:
        for (size_t i = 0; i < n; i++)
            out[i] = bf16_to_f32(load_u16(bytes + 2 * i));
        break;
    default:
        for (size_t i = 0; i < n; i += QUANT_BLOCK, bytes += block_bytes)
            unpack_block(type, bytes, out + i);
        break;
    }
}

bool f32_all_finite(const float *values, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (bits_of_float(values[i]) & 0x7F800000) == 0x7F800000;
    return !bad;
}

bool f16_all_finite(const uint16_t *values, size_t n)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (values[i] & 0x7C00) == 0x7C00;
    return !bad;
}
