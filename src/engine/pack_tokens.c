#include "engine/pack_tokens.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/model_pack.h"

#include <math.h>

#define MOST_POWER 6 /* of two, of a factor */

struct scan {
    const struct model_source *source; /* borrowed */
    const struct source_tensor *tensor;
    size_t rows, state;
    float *row;  /* owned [state] */
    double *sum; /* owned [state] */
    float *most; /* owned [state]: greatest difference from the mean */
};

static const struct model_part *tokens_of(const struct model_source *s, int *index)
{
    for (int i = 0; i < s->plan->n_parts; i++)
        if (s->plan->parts[i].slot == SLOT_TOKENS) {
            *index = i;
            return &s->plan->parts[i];
        }
    return NULL;
}

static bool read_row(struct scan *s, const struct kernels *kernels, size_t row)
{
    return pack_row(kernels, s->tensor, row, s->state, WEIGHT_F32, s->row);
}

/* Twice through all rows: the means first, then the greatest differences from them. */
static bool look(struct scan *s, float *mean)
{
    const struct kernels *kernels = kernels_choose();
    for (size_t r = 0; r < s->rows; r++) {
        if (!read_row(s, kernels, r))
            return false;
        for (size_t i = 0; i < s->state; i++)
            s->sum[i] += (double)s->row[i];
    }
    for (size_t i = 0; i < s->state; i++)
        mean[i] = (float)(s->sum[i] / (double)s->rows);
    for (size_t r = 0; r < s->rows; r++) {
        if (!read_row(s, kernels, r))
            return false;
        for (size_t i = 0; i < s->state; i++) {
            float away = fabsf(s->row[i] - mean[i]);
            s->most[i] = away > s->most[i] ? away : s->most[i];
        }
    }
    return true;
}

static bool counts(float most)
{
    return most > 1e-20f && most < 1e20f;
}

void token_columns_choose(const float *most, size_t n, float *factors)
{
    double sum = 0;
    size_t counted = 0;
    for (size_t i = 0; i < n; i++)
        if (counts(most[i])) {
            sum += log2((double)most[i]);
            counted++;
        }
    double usual = counted ? sum / (double)counted : 0;
    for (size_t i = 0; i < n; i++) {
        double power = counts(most[i]) ? usual - log2((double)most[i]) : 0;
        power = fmin(fmax(rint(power), -MOST_POWER), MOST_POWER);
        factors[i] = (float)ldexp(1, (int)power);
    }
}

int token_columns_find(const struct model_source *s, struct token_columns *out,
                       struct err *e)
{
    int index = 0, status = 0;
    const struct model_part *part = tokens_of(s, &index);
    struct scan scan = {.source = s, .tensor = &s->tensors[index]};
    scan.rows = (size_t)part->dims[0];
    scan.state = (size_t)part->dims[1];
    *out = (struct token_columns){mem_array(scan.state, sizeof(float)),
                                  mem_array(scan.state, sizeof(float))};
    scan.row = mem_array(scan.state, sizeof(float));
    scan.most = mem_array(scan.state, sizeof(float));
    scan.sum = mem_array(scan.state, sizeof *scan.sum);
    if (!out->common || !out->factors || !scan.row || !scan.most || !scan.sum)
        status = err_set(e, ERR_NOMEM, "out of memory");
    else if (!look(&scan, out->common))
        status = err_set(e, ERR_CORRUPT,
                         "the tensor %s holds a value that is not a finite number",
                         source_name(s, index));
    if (!status) {
        token_columns_choose(scan.most, scan.state, out->factors);
        for (size_t i = 0; i < scan.state; i++)
            out->common[i] *= out->factors[i];
    }
    free(scan.row);
    free(scan.most);
    free(scan.sum);
    return status;
}

void token_columns_release(struct token_columns *t)
{
    free(t->common);
    free(t->factors);
    *t = (struct token_columns){0};
}

void token_columns_apply(const struct token_columns *t, float *row, size_t state)
{
    for (size_t i = 0; i < state; i++)
        row[i] = row[i] * t->factors[i] - t->common[i];
}
