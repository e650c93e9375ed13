/* Memory and checked arithmetic: sizes from outside never wrap. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* *out = a * b or a + b; false, with *out untouched, when it does not fit. */
bool size_mul(size_t a, size_t b, size_t *out) __attribute__((warn_unused_result));
bool size_add(size_t a, size_t b, size_t *out) __attribute__((warn_unused_result));

/* calloc with the product checked; NULL when memory is out. Freed with free(). */
void *mem_array(size_t count, size_t size) __attribute__((warn_unused_result));

/* Zeroed memory on a 64-byte boundary (a cache line, an AVX-512 register); NULL when
 * memory is out. Freed with free(). */
void *mem_aligned(size_t count, size_t size) __attribute__((warn_unused_result));

/* Grow *array (an owned heap array) so that at least `wanted` elements fit; *capacity is
 * updated. Growth is geometric. Returns 0 or ERR_NOMEM, with the array as it was. */
int mem_grow(void *array, size_t *capacity, size_t wanted, size_t size)
    __attribute__((warn_unused_result));

/* strdup that accepts NULL (gives NULL). */
char *mem_strdup(const char *text) __attribute__((warn_unused_result));

#endif
