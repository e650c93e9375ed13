/* Linear layers of a block of rows on one thread.
 *
 * What a row becomes between two attentions depends on no other row: projection, norm,
 * feed-forward, norm, the next query, key and value. So a thread takes a block of rows
 * through all of it, and what lies between stays in its second cache; linear.h takes all
 * rows through one layer, and writes all of it to memory in between. */
#ifndef ENGINE_ROWS_H
#define ENGINE_ROWS_H

#include "engine/net.h"

/* At most so many rows; a multiple of 16, as the keys' panels want it. */
#define ROWS_MOST 96

/* Rows that a block of the encoder has: as many as the second cache holds, and fewer
 * where threads would be without work. A multiple of 16. */
int rows_of_block(int state, int rows, int threads);

/* Floats of scratch that a thread needs for layers of at most `state` and 4 * `state`
 * columns. */
size_t rows_scratch_floats(size_t state);

/* A block at work. */
struct rows {
    const struct net *net; /* borrowed */
    int thread;
    int m;       /* rows, at most ROWS_MOST */
    float *wide; /* [m][wide_stride]: for what lies between two layers */
    size_t wide_stride;
    /* The input of rows_multiply, by rows_load. */
    const float *x;
    size_t x_stride;
    float *norm;    /* [m][x_stride] */
    uint8_t *codes; /* [m][code_stride] */
    size_t code_stride;
    float *code_scales;
    int32_t *code_sums;
};

/* Begin with m rows in the scratch of a thread. */
void rows_begin(struct rows *r, const struct net *n, int thread, int m);

/* What w is to be multiplied with: x [m][w->cols], or the layer norm of its rows. In 8
 * bits it is copied, else it has to stay as it is. */
void rows_load(struct rows *r, const struct weight *w, const struct layer_norm *norm,
               const float *x, size_t x_stride);

/* y[m][count] = what was loaded for w, or for one of the same columns and fineness, times
 * its outputs first … first + count - 1, which begin with a panel; flags as in kernels.h.
 */
void rows_multiply(const struct rows *r, const struct weight *w, int first, int count,
                   float *y, size_t y_stride, unsigned flags);

#endif
