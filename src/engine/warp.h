/* The arithmetic of alignment: attention to a path, by dynamic programming. */
#ifndef ENGINE_WARP_H
#define ENGINE_WARP_H

#include <stdbool.h>
#include <stddef.h>

#define WARP_MEDIAN 7 /* columns */

/* Make every column of w [rows][columns] have mean 0 and variance 1 over its rows; a
 * column without variance becomes 0. `scratch` [2 * columns]. */
void warp_standardise(float *w, size_t rows, size_t columns, float *scratch);

/* out[i] = the median of WARP_MEDIAN neighbours of row[i], reflected at the ends. Rows
 * that are too short for it are copied. */
void warp_median(float *out, const float *row, size_t columns);

/* out[i] = row[i + lag], linear between two, the ends repeated. */
void warp_shift(float *out, const float *row, size_t columns, float lag);

/* What the columns are shared out among, in order. */
struct warp_state {
    const float *gain; /* borrowed [columns]: how well it fits each */
    bool pause;        /* may have no column; its neighbours may not be pauses */
    bool begins;       /* a word; never of a pause */
};

/* Give every column to one state, in order, so that the sum of the gains is greatest and
 * every state but pauses has at least one: state s has [first[s], last[s]], and a pause
 * without any has first > last. At a column for which `cut` (NULL: none) is set, a word
 * may begin but not go on.
 *
 * `sum` [2 * n], `trace` [n * columns]. False, with nothing given, when that cannot be.
 */
bool warp_path(const struct warp_state *states, size_t n, size_t columns, const bool *cut,
               float *sum, unsigned char *trace, size_t *first, size_t *last);

#endif
