#include "engine/kvcache.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"

#define PANEL KERNEL_LANES

bool kv_floats(int heads, int head_size, int capacity, size_t *out)
{
    size_t n;
    return size_mul((size_t)heads, (size_t)head_size, &n) &&
           size_mul(n, (size_t)capacity, out);
}

size_t kv_key_stride(const struct kv *c)
{
    return (size_t)c->head_size * PANEL;
}

size_t kv_value_stride(const struct kv *c)
{
    return (size_t)c->capacity * PANEL;
}

const float *kv_keys(const struct kv *c, int head)
{
    return c->keys + (size_t)head * (size_t)c->capacity * (size_t)c->head_size;
}

const float *kv_values(const struct kv *c, int head)
{
    return c->values + (size_t)head * (size_t)c->capacity * (size_t)c->head_size;
}

void kv_store(struct kv *c, int position, const float *key, const float *value)
{
    size_t size = (size_t)c->head_size, head_floats = (size_t)c->capacity * size;
    float *keys = c->keys + (size_t)(position / PANEL) * size * PANEL + position % PANEL;
    float *values = c->values + (size_t)position * PANEL;
    for (int h = 0; h < c->heads; h++) {
        for (size_t i = 0; i < size; i++)
            keys[i * PANEL] = key[i];
        for (size_t i = 0; i < size / PANEL; i++)
            memcpy(values + i * kv_value_stride(c), value + i * PANEL,
                   PANEL * sizeof *value);
        keys += head_floats;
        values += head_floats;
        key += size;
        value += size;
    }
}

void kv_copy(struct kv *to, const struct kv *from, int length)
{
    size_t size = (size_t)to->head_size, head_floats = (size_t)to->capacity * size;
    size_t key_floats = (size_t)(length + PANEL - 1) / PANEL * PANEL * size;
    for (int h = 0; h < to->heads; h++) {
        size_t at = (size_t)h * head_floats;
        memcpy(to->keys + at, from->keys + at, key_floats * sizeof *to->keys);
        for (size_t i = 0; i < size / PANEL; i++) {
            size_t panel = at + i * kv_value_stride(to);
            memcpy(to->values + panel, from->values + panel,
                   (size_t)length * PANEL * sizeof *to->values);
        }
    }
}
