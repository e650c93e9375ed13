#include "engine/warp.h"

#include <math.h>
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

void warp_shift(float *out, const float *row, size_t columns, float lag)
{
    float most = (float)(columns - 1);
    for (size_t c = 0; c < columns; c++) {
        float at = (float)c + lag;
        at = at < 0 ? 0 : at > most ? most : at;
        size_t left = (size_t)at, right = left + 1 < columns ? left + 1 : left;
        out[c] = row[left] + (at - (float)left) * (row[right] - row[left]);
    }
}

/* How many states back the one of the column before lies. */
enum { STAY, NEXT, SKIP };

/* The best way into state s, or -INFINITY. */
static float best_step(const struct warp_state *states, size_t s, const float *before,
                       bool cut, unsigned char *step)
{
    bool begins = states[s].begins || states[s].pause;
    float best = cut && !states[s].pause ? -INFINITY : before[s];
    *step = STAY;
    if (s >= 1 && (!cut || begins) && before[s - 1] > best) {
        best = before[s - 1];
        *step = NEXT;
    }
    if (s >= 2 && states[s - 1].pause && before[s - 2] > best) {
        best = before[s - 2];
        *step = SKIP;
    }
    return best;
}

static void trace_back(size_t s, size_t n, size_t columns, const unsigned char *trace,
                       size_t *first, size_t *last)
{
    for (size_t i = 0; i < n; i++) {
        first[i] = 1;
        last[i] = 0;
    }
    last[s] = columns - 1;
    for (size_t c = columns - 1;; c--) {
        first[s] = c;
        if (c == 0)
            break;
        size_t back = trace[c * n + s];
        if (back)
            last[s - back] = c - 1;
        s -= back;
    }
}

bool warp_path(const struct warp_state *states, size_t n, size_t columns, const bool *cut,
               float *sum, unsigned char *trace, size_t *first, size_t *last)
{
    float *before = sum, *here = sum + n;
    for (size_t s = 0; s < n; s++)
        before[s] = s == 0 || (s == 1 && states[0].pause) ? states[s].gain[0] : -INFINITY;
    for (size_t c = 1; c < columns; c++) {
        for (size_t s = 0; s < n; s++)
            here[s] = best_step(states, s, before, cut && cut[c], &trace[c * n + s]) +
                      states[s].gain[c];
        float *swap = before;
        before = here;
        here = swap;
    }
    size_t s = n - 1;
    if (s > 0 && states[s].pause && before[s - 1] > before[s])
        s--;
    if (!(before[s] > -INFINITY))
        return false;
    trace_back(s, n, columns, trace, first, last);
    return true;
}
