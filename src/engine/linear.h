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

/* Panels of w that are multiplied with many rows before the next: a part of the second
 * cache. An even number. */
int linear_strip_panels(const struct weight *w);

/* A row x [w->cols], or its layer norm, as w of 8 bits takes it; scratch [w->cols] is
 * used with a norm. */
void linear_code_row(const struct net *n, const struct weight *w,
                     const struct layer_norm *norm, const float *x, uint8_t *out,
                     float *scale, int32_t *sum, float *scratch);

/* y[m][w->rows] = x[m][w->cols] Wᵀ + bias, and what `flags` (enum gemm_flags) say. The
 * strides are in floats, from row to row; rows of x may overlap. */
void linear(struct net *n, const struct weight *w, const float *x, size_t x_stride, int m,
            float *y, size_t y_stride, unsigned flags);

/* The same of the layer norm of the rows of x [m][w->cols], which in 8 bits is written
 * down only as such; else it goes through n->norm. */
void linear_normed(struct net *n, const struct weight *w, const struct layer_norm *norm,
                   const float *x, int m, float *y, size_t y_stride, unsigned flags);

/* y[m][cols] = layer norm of the rows of x [m][cols]. */
void normalise(struct net *n, const struct layer_norm *norm, const float *x, int m,
               int cols, float *y, size_t y_stride);

#endif
