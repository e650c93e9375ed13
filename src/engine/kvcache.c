#include "engine/kvcache.h"

#include "base/mem.h"

#define PANEL KERNEL_LANES

static size_t element(const struct kv *c)
{
    return c->type == WEIGHT_F32  ? sizeof(float)
           : c->type == WEIGHT_S8 ? sizeof(uint8_t)
                                  : sizeof(uint16_t);
}

bool kv_bytes(const struct kv *shape, size_t *out)
{
    size_t n;
    return size_mul((size_t)shape->heads, (size_t)shape->head_size, &n) &&
           size_mul(n, (size_t)shape->capacity, &n) && size_mul(n, element(shape), out);
}

size_t kv_key_stride(const struct kv *c)
{
    return (size_t)c->head_size * PANEL;
}

size_t kv_value_stride(const struct kv *c)
{
    return (size_t)c->capacity * PANEL;
}

static size_t head_bytes(const struct kv *c)
{
    return (size_t)c->capacity * (size_t)c->head_size * element(c);
}

const void *kv_keys(const struct kv *c, int head)
{
    return (const char *)c->keys + (size_t)head * head_bytes(c);
}

const void *kv_values(const struct kv *c, int head)
{
    return (const char *)c->values + (size_t)head * head_bytes(c);
}

/* A key is a column of lanes in its panel, 16 elements from one to the next. */
static void spread_floats(float *keys, const float *key, size_t n)
{
    for (size_t i = 0; i < n; i++)
        keys[i * PANEL] = key[i];
}

static void narrow_panel(const struct kernels *k, const float *in, uint16_t *out)
{
    float cut[PANEL];
    for (int i = 0; i < PANEL; i++) {
        float x = in[i] < 65504.0f ? in[i] : 65504.0f;
        cut[i] = x > -65504.0f ? x : -65504.0f;
    }
    k->narrow(out, cut, PANEL);
}

static void spread_halves(uint16_t *keys, const struct kernels *k, const float *key,
                          size_t n)
{
    uint16_t half[PANEL];
    for (size_t i = 0; i < n; i += PANEL) {
        narrow_panel(k, key + i, half);
        for (size_t j = 0; j < PANEL; j++)
            keys[(i + j) * PANEL] = half[j];
    }
}

void kv_store_keys_16(struct kv *c, const struct kernels *k, int position,
                      const float *keys, size_t stride, int rows)
{
    size_t size = (size_t)c->head_size, head = (size_t)c->capacity * size;
    struct attend_store a = {
        .keys_in = keys,
        .stride = stride,
        .keys = (int16_t *)c->keys + (size_t)position * size,
        .key_scales = c->key_scales + position,
        .rows = rows,
    };
    for (int h = 0; h < c->heads; h++) {
        k->attend_store(&a);
        a.keys_in += size;
        a.keys += head;
        a.key_scales += c->capacity;
    }
}

void kv_store_values_16(struct kv *c, const struct kernels *k, int position,
                        const float *values, size_t stride, int rows,
                        const float *inverses)
{
    size_t size = (size_t)c->head_size, head = (size_t)c->capacity * size;
    struct attend_store a = {
        .values_in = values,
        .stride = stride,
        .value_inverses = inverses,
        .values = (int16_t *)c->values + (size_t)position * PANEL,
        .value_stride = kv_value_stride(c),
        .rows = rows,
    };
    for (int h = 0; h < c->heads; h++) {
        k->attend_store(&a);
        a.values_in += size;
        a.value_inverses += size;
        a.values += head;
    }
}

void kv_store_8(struct kv *c, const struct kernels *k, int position, const float *keys,
                const float *values, size_t stride, int rows)
{
    size_t size = (size_t)c->head_size, head = (size_t)c->capacity * size;
    struct store_bytes a = {
        .keys_in = keys,
        .values_in = values,
        .stride = stride,
        .keys = (uint8_t *)c->keys + (size_t)position * size,
        .values = (uint8_t *)c->values + (size_t)position * PANEL,
        .value_stride = kv_value_stride(c),
        .key_scales = c->key_scales + position,
        .value_scales = c->value_scales + position,
        .rows = rows,
        .head_size = c->head_size,
    };
    for (int h = 0; h < c->heads; h++) {
        k->store_bytes(&a);
        a.keys_in += size;
        a.values_in += size;
        a.keys += head;
        a.values += head;
        a.key_scales += c->capacity;
        a.value_scales += c->capacity;
    }
}

void kv_store(struct kv *c, const struct kernels *k, int position, const float *key,
              const float *value)
{
    size_t size = (size_t)c->head_size, head = (size_t)c->capacity * size;
    size_t key_at = (size_t)(position / PANEL) * size * PANEL + (size_t)position % PANEL;
    size_t value_at = (size_t)position * PANEL, stride = kv_value_stride(c);
    for (int h = 0; h < c->heads; h++) {
        if (c->type == WEIGHT_F16) {
            spread_halves((uint16_t *)c->keys + key_at, k, key, size);
            for (size_t i = 0; i < size / PANEL; i++)
                narrow_panel(k, value + i * PANEL,
                             (uint16_t *)c->values + value_at + i * stride);
        } else {
            spread_floats((float *)c->keys + key_at, key, size);
            for (size_t i = 0; i < size / PANEL; i++)
                memcpy((float *)c->values + value_at + i * stride, value + i * PANEL,
                       PANEL * sizeof *value);
        }
        key_at += head;
        value_at += head;
        key += size;
        value += size;
    }
}

void kv_copy(struct kv *to, const struct kv *from, int first, int length)
{
    size_t size = (size_t)to->head_size, bytes = element(to);
    if (first >= length)
        return;
    /* Keys lie in panels of 16 positions: whole ones are copied. */
    size_t begin = (size_t)first / PANEL * PANEL;
    size_t end = (size_t)(length + PANEL - 1) / PANEL * PANEL;
    size_t key_at = begin * size * bytes, key_bytes = (end - begin) * size * bytes;
    size_t value_at = (size_t)first * PANEL * bytes;
    size_t value_bytes = (size_t)(length - first) * PANEL * bytes;
    for (int h = 0; h < to->heads; h++) {
        size_t at = (size_t)h * head_bytes(to);
        memcpy((char *)to->keys + at + key_at, (const char *)from->keys + at + key_at,
               key_bytes);
        for (size_t i = 0; i < size / PANEL; i++) {
            size_t panel = at + i * kv_value_stride(to) * bytes + value_at;
            memcpy((char *)to->values + panel, (const char *)from->values + panel,
                   value_bytes);
        }
    }
}
