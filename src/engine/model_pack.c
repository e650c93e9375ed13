#include "engine/model_pack.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MAX_THREADS 8
/* Rows that one thread takes at a time, a multiple of WEIGHT_PANEL. */
#define CHUNK_ROWS 256
/* Columns that are turned at a time, a multiple of 4. */
#define CHUNK 256

struct pack_job {
    const struct model_source *source; /* borrowed */
    uint8_t *image;                    /* borrowed */
    const struct kernels *kernels;     /* static */
    size_t row_bytes;                  /* of the widest row, as f32 */
    atomic_int next;                   /* chunk to be taken */
    atomic_int bad_part;               /* lowest part that is not finite; n_parts: none */
    atomic_bool no_memory;
    int *first_chunk; /* owned [n_parts + 1] */
};

/* Halves may lie at any address in a file; they are most of what is read. */
static bool widen_row(const struct kernels *kernels, const uint8_t *from, size_t cols,
                      float *out)
{
    uint16_t half[CHUNK];
    for (size_t i = 0; i < cols; i += CHUNK) {
        size_t n = cols - i < CHUNK ? cols - i : CHUNK;
        memcpy(half, from + i * sizeof *half, n * sizeof *half);
        if (!f16_all_finite(half, n))
            return false;
        kernels->widen(out + i, half, n);
    }
    return true;
}

/* One row of a part as the slot wants it, f32 or half, in order of the file. */
static bool decode_row(const struct kernels *kernels, const struct source_tensor *t,
                       size_t row, size_t cols, enum weight_type type, void *out)
{
    size_t bytes = 0;
    if (!quant_row_bytes(t->type, cols, &bytes))
        return false;
    const uint8_t *from = t->bytes + row * bytes;
    if (type == WEIGHT_F16) {
        memcpy(out, from, bytes);
        return f16_all_finite(out, cols);
    }
    if (t->type == TENSOR_F16)
        return widen_row(kernels, from, cols, out);
    quant_to_f32(t->type, from, cols, out);
    return f32_all_finite(out, cols);
}

/* rows[16][cols] to panel[cols][16]. A convolution's column `channel * 3 + tap` goes to
 * `tap * channels + channel`. */
static void interleave_f32(const float *rows, int n_rows, int cols, bool conv,
                           float *panel)
{
    int taps = conv ? 3 : 1, channels = cols / taps;
    for (int channel = 0; channel < channels; channel++)
        for (int tap = 0; tap < taps; tap++) {
            float *to = panel + (size_t)(tap * channels + channel) * WEIGHT_PANEL;
            const float *from = rows + channel * taps + tap;
            for (int r = 0; r < n_rows; r++)
                to[r] = from[(size_t)r * (size_t)cols];
        }
}

static void interleave_f16(const uint16_t *rows, int n_rows, int cols, bool conv,
                           uint16_t *panel)
{
    int taps = conv ? 3 : 1, channels = cols / taps;
    for (int channel = 0; channel < channels; channel++)
        for (int tap = 0; tap < taps; tap++) {
            uint16_t *to = panel + (size_t)(tap * channels + channel) * WEIGHT_PANEL;
            const uint16_t *from = rows + channel * taps + tap;
            for (int r = 0; r < n_rows; r++)
                to[r] = from[(size_t)r * (size_t)cols];
        }
}

/* The greatest magnitude of finite numbers: they are in the order of their bits. */
static float greatest(const float *x, int n)
{
    uint32_t most = 0;
    float value;
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    memcpy(&value, &most, sizeof value);
    return value;
}

/* Whole numbers from 0 to 255 of at most CHUNK columns of one row into its panel. */
static void code_row(const float *row, int n, float inverse, uint8_t *to)
{
    uint8_t codes[CHUNK];
    for (int i = 0; i < n; i++) /* adding 1.5 * 2^23 rounds to nearest even */
        codes[i] = (uint8_t)(128 + (int)(row[i] * inverse + 12582912.0f - 12582912.0f));
    int at = 0;
    for (; at + 4 <= n; at += 4, to += 4 * WEIGHT_PANEL)
        memcpy(to, codes + at, 4);
    memcpy(to, codes + at, (size_t)(n - at));
}

/* The same into 8 bits: whole numbers of a scale that each row has for itself. */
static void interleave_s8(const float *rows, int n_rows, int cols, uint8_t *panel,
                          float *scales)
{
    memset(panel, 128, weight_panel_bytes(WEIGHT_S8, cols));
    for (int r = 0; r < n_rows; r++) {
        const float *row = rows + (size_t)r * (size_t)cols;
        float most = greatest(row, cols);
        scales[r] = most / 127.0f;
        for (int at = 0; at < cols; at += CHUNK)
            code_row(row + at, cols - at < CHUNK ? cols - at : CHUNK,
                     most > 0 ? 127.0f / most : 0, panel + at * WEIGHT_PANEL + r * 4);
    }
}

/* Up to 16 rows of a part, from `row` on, into the panel that they fill. */
static bool pack_panel(const struct pack_job *job, int part, int row, int n_rows,
                       void *scratch)
{
    const struct model_part *p = &job->source->plan->parts[part];
    const struct image_slot *slot = &job->source->plan->slots[p->slot];
    size_t cols = (size_t)slot->cols;
    size_t size = slot->type == WEIGHT_F16 ? sizeof(uint16_t) : sizeof(float);
    enum weight_type read = slot->type == WEIGHT_F16 ? WEIGHT_F16 : WEIGHT_F32;
    for (int r = 0; r < n_rows; r++)
        if (!decode_row(job->kernels, &job->source->tensors[part], (size_t)(row + r),
                        cols, read, (uint8_t *)scratch + (size_t)r * cols * size))
            return false;
    int first = p->first_row + row;
    uint8_t *at = job->image + slot->offset;
    void *panel =
        at + (size_t)(first / WEIGHT_PANEL) * weight_panel_bytes(slot->type, slot->cols);
    if (slot->type == WEIGHT_S8)
        interleave_s8(scratch, n_rows, slot->cols, panel,
                      (float *)(void *)(at + plan_scales_at(slot)) + first);
    else if (slot->type == WEIGHT_F16)
        interleave_f16(scratch, n_rows, slot->cols, p->conv, panel);
    else
        interleave_f32(scratch, n_rows, slot->cols, p->conv, panel);
    return true;
}

static int part_rows(const struct model_part *p)
{
    return p->n_dims == 1 ? 1 : p->dims[0];
}

static bool pack_chunk(const struct pack_job *job, int part, int chunk, void *scratch)
{
    const struct model_part *p = &job->source->plan->parts[part];
    const struct image_slot *slot = &job->source->plan->slots[p->slot];
    int row = chunk * CHUNK_ROWS, end = part_rows(p);
    if (end > row + CHUNK_ROWS)
        end = row + CHUNK_ROWS;
    int step = slot->panels ? WEIGHT_PANEL : 1;
    size_t cols = (size_t)p->dims[p->n_dims - 1];
    for (; row < end; row += step) {
        bool good;
        if (slot->panels) {
            good =
                pack_panel(job, part, row, end - row < step ? end - row : step, scratch);
        } else {
            float *to = (void *)(job->image + slot->offset);
            to += (size_t)p->first_row + (size_t)row * cols;
            good = decode_row(job->kernels, &job->source->tensors[part], (size_t)row,
                              cols, WEIGHT_F32, to);
        }
        if (!good)
            return false;
    }
    return true;
}

static void note_bad(struct pack_job *job, int part)
{
    int lowest = atomic_load(&job->bad_part);
    while (part < lowest && !atomic_compare_exchange_weak(&job->bad_part, &lowest, part))
        ;
}

static void *work(void *arg)
{
    struct pack_job *job = arg;
    const struct model_plan *plan = job->source->plan;
    void *scratch = mem_aligned(WEIGHT_PANEL, job->row_bytes);
    if (!scratch) {
        atomic_store(&job->no_memory, true);
        return NULL;
    }
    int part = 0;
    for (;;) {
        int chunk = atomic_fetch_add(&job->next, 1);
        if (chunk >= job->first_chunk[plan->n_parts])
            break;
        while (chunk >= job->first_chunk[part + 1])
            part++;
        if (!pack_chunk(job, part, chunk - job->first_chunk[part], scratch))
            note_bad(job, part);
    }
    free(scratch);
    return NULL;
}

static int thread_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

/* Threads that cannot be had only make it slower: the caller works too. */
static void run(struct pack_job *job)
{
    pthread_t threads[MAX_THREADS];
    int n = 0, wanted = thread_count() - 1;
    while (n < wanted && !pthread_create(&threads[n], NULL, work, job))
        n++;
    work(job);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void divide(struct pack_job *job)
{
    const struct model_plan *plan = job->source->plan;
    int chunk = 0;
    size_t widest = 0;
    for (int i = 0; i < plan->n_parts; i++) {
        const struct model_part *p = &plan->parts[i];
        job->first_chunk[i] = chunk;
        chunk += (part_rows(p) + CHUNK_ROWS - 1) / CHUNK_ROWS;
        size_t cols = (size_t)plan->slots[p->slot].cols;
        widest = cols > widest ? cols : widest;
    }
    job->first_chunk[plan->n_parts] = chunk;
    job->row_bytes = widest * sizeof(float);
}

int pack_all(const struct model_source *s, uint8_t *image, struct err *e)
{
    int n_parts = s->plan->n_parts;
    struct pack_job job = {.source = s, .image = image, .kernels = kernels_choose()};
    atomic_init(&job.next, 0);
    atomic_init(&job.bad_part, n_parts);
    atomic_init(&job.no_memory, false);
    job.first_chunk = mem_array((size_t)n_parts + 1, sizeof *job.first_chunk);
    if (!job.first_chunk)
        return err_set(e, ERR_NOMEM, "out of memory");
    divide(&job);
    run(&job);
    free(job.first_chunk);
    int bad = atomic_load(&job.bad_part);
    if (atomic_load(&job.no_memory))
        return err_set(e, ERR_NOMEM, "out of memory");
    if (bad < n_parts)
        return err_set(e, ERR_CORRUPT,
                       "the tensor %s holds a value that is not a finite number",
                       source_name(s, bad));
    return 0;
}
