/* What the targets share. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer calls it with each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property of the product. Says which one was broken, then stops. */
#define HOLDS(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            (void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,      \
                          #condition);                                                   \
            abort();                                                                     \
        }                                                                                \
    } while (0)

/* The bytes as a text that ends with the first NUL, in a block of exactly that size, so
 * that a read behind its end is seen. The caller frees it. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    size_t length = size ? strnlen((const char *)data, size) : 0;
    char *text = malloc(length + 1);
    HOLDS(text);
    if (length)
        memcpy(text, data, length);
    text[length] = '\0';
    return text;
}

/* Cut the first line off *text (owned by the caller) and return it: inputs of several
 * texts have one on each line. "" when nothing is left. */
static inline char *fuzz_line(char **text)
{
    char *line = *text, *end = line + strcspn(line, "\n");
    *text = *end ? end + 1 : end;
    *end = '\0';
    return line;
}

#endif
