/* How far two names are apart: for "did you mean …?". */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include <stddef.h>

#define NEAR_MAX_LENGTH 48

/* Damerau-Levenshtein distance (optimal string alignment), case ignored: the number of
 * typing errors, each of which is one letter more, less or wrong, or two swapped. Both
 * lengths are at most NEAR_MAX_LENGTH. */
size_t near_distance(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
