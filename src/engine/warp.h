/* The arithmetic of alignment: attention to a path, by dynamic time warping. */
#ifndef ENGINE_WARP_H
#define ENGINE_WARP_H

#include <stddef.h>

#define WARP_MEDIAN 7 /* columns */

/* Make every column of w [rows][columns] have mean 0 and variance 1 over its rows; a
 * column without variance becomes 0. `scratch` [2 * columns]. */
void warp_standardise(float *w, size_t rows, size_t columns, float *scratch);

/* out[i] = the median of WARP_MEDIAN neighbours of row[i], reflected at the ends. Rows
 * that are too short for it are copied. */
void warp_median(float *out, const float *row, size_t columns);

/* The monotonic path through gain [rows][columns] from its first to its last corner, by
 * steps of one row, one column or both, whose sum is greatest: first[r] is the column
 * where it enters row r. `cost` [2 * (columns + 1)], `trace` [rows * columns]; rows and
 * columns >= 1. */
void warp_path(const float *gain, size_t rows, size_t columns, double *cost,
               unsigned char *trace, size_t *first);

#endif
