#include "base/mem.h"

#include "base/err.h"

#include <stdint.h>

bool size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

bool size_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

void *mem_array(size_t count, size_t size)
{
    return calloc(count ? count : 1, size ? size : 1);
}

void *mem_aligned(size_t count, size_t size)
{
    size_t bytes;
    if (!size_mul(count, size, &bytes) || !size_add(bytes, 64, &bytes))
        return NULL;
    bytes = bytes / 64 * 64;
    void *memory = aligned_alloc(64, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

int mem_grow(void *array, size_t *capacity, size_t wanted, size_t size)
{
    if (wanted <= *capacity)
        return 0;
    size_t grown = *capacity + *capacity / 2 + 8;
    if (grown < wanted)
        grown = wanted;
    size_t bytes;
    if (!size_mul(grown, size, &bytes))
        return ERR_NOMEM;
    void *old;
    memcpy(&old, array, sizeof old);
    void *memory = realloc(old, bytes);
    if (!memory)
        return ERR_NOMEM;
    memcpy(array, &memory, sizeof memory);
    *capacity = grown;
    return 0;
}

char *mem_strdup(const char *text)
{
    return text ? strdup(text) : NULL;
}
