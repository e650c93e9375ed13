#include "engine/warp.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

void warp_standardise(float *w, size_t rows, size_t columns, float *scratch)
{
    float *mean = scratch, *factor = scratch + columns;
    memset(scratch, 0, 2 * columns * sizeof *scratch);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            mean[c] += w[r * columns + c];
    for (size_t c = 0; c < columns; c++)
        mean[c] /= (float)rows;
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            float d = w[r * columns + c] - mean[c];
            factor[c] += d * d;
        }
    }
    for (size_t c = 0; c < columns; c++)
        factor[c] = factor[c] > 0 ? 1 / sqrtf(factor[c] / (float)rows) : 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            w[r * columns + c] = (w[r * columns + c] - mean[c]) * factor[c];
}

/* Insertion: seven values, mostly near the order they had. */
static float median_of(const float *values)
{
    float sorted[WARP_MEDIAN];
    for (int i = 0; i < WARP_MEDIAN; i++) {
        int at = i;
        for (; at > 0 && sorted[at - 1] > values[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = values[i];
    }
    return sorted[WARP_MEDIAN / 2];
}

void warp_median(float *out, const float *row, size_t columns)
{
    enum { HALF = WARP_MEDIAN / 2 };
    if (columns <= HALF) {
        memcpy(out, row, columns * sizeof *out);
        return;
    }
    for (size_t c = 0; c < columns; c++) {
        float values[WARP_MEDIAN];
        for (size_t i = 0; i < WARP_MEDIAN; i++) {
            size_t at = c + i < HALF ? HALF - c - i : c + i - HALF;
            values[i] = row[at < columns ? at : 2 * (columns - 1) - at];
        }
        out[c] = median_of(values);
    }
}

enum step { STEP_BOTH, STEP_ROW, STEP_COLUMN };

void warp_path(const float *gain, size_t rows, size_t columns, double *cost,
               unsigned char *trace, size_t *first)
{
    double *above = cost, *here = cost + columns + 1;
    above[0] = 0;
    for (size_t c = 1; c <= columns; c++)
        above[c] = INFINITY;
    for (size_t r = 0; r < rows; r++) {
        here[0] = INFINITY;
        for (size_t c = 0; c < columns; c++) {
            double both = above[c], row = above[c + 1], column = here[c];
            enum step step = both < row && both < column  ? STEP_BOTH
                             : row < both && row < column ? STEP_ROW
                                                          : STEP_COLUMN;
            double least = step == STEP_BOTH ? both : step == STEP_ROW ? row : column;
            here[c + 1] = least - (double)gain[r * columns + c];
            trace[r * columns + c] = (unsigned char)step;
        }
        double *swap = above;
        above = here;
        here = swap;
    }
    size_t r = rows - 1, c = columns - 1;
    for (;;) {
        first[r] = c;
        enum step step = r == 0   ? STEP_COLUMN
                         : c == 0 ? STEP_ROW
                                  : trace[r * columns + c];
        if (r == 0 && c == 0)
            break;
        if (step != STEP_ROW)
            c--;
        if (step != STEP_COLUMN)
            r--;
    }
}
