/* A linear layer on all threads. */
#ifndef ENGINE_LINEAR_H
#define ENGINE_LINEAR_H

#include "engine/net.h"

/* Multiplications that one thread does sooner than another is told of them. */
#define LINEAR_INLINE (48 * 1024)

/* Floats of widened weights that a thread needs for any layer of at most `cols` inputs.
 */
size_t linear_strip_floats(int cols);

/* Bytes of a row of at most `cols` inputs in 8 bits. */
size_t linear_code_bytes(int cols);

/* y[m][w->rows] = x[m][w->cols] Wᵀ + bias, and what `flags` (enum gemm_flags) say. The
 * strides are in floats, from row to row; rows of x may overlap. */
void linear(struct net *n, const struct weight *w, const float *x, size_t x_stride, int m,
            float *y, size_t y_stride, unsigned flags);

/* The same of the layer norm of the rows of x [m][w->cols], which in 8 bits is written
 * down only as such; else it goes through n->norm. */
void linear_normed(struct net *n, const struct weight *w, const struct layer_norm *norm,
                   const float *x, int m, float *y, size_t y_stride, unsigned flags);

/* linear without flags; `again`: x, and whether w is fine, are those of the last call of
 * these three, and need not be made 8 bits once more. */
void linear_again(struct net *n, const struct weight *w, const float *x, size_t x_stride,
                  int m, float *y, size_t y_stride, bool again);

/* y[m][cols] = layer norm of the rows of x [m][cols]. */
void normalise(struct net *n, const struct layer_norm *norm, const float *x, int m,
               int cols, float *y, size_t y_stride);

#endif
