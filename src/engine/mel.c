/* Two passes over the recording: the first finds the loudest mel energy, by which is told
 * what sounds; the second computes each window when it is asked for. 16 frames are
 * transformed together, one per vector lane. */
#include "engine/mel.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/threads.h"

#include <assert.h>
#include <math.h>

#define HOP      160
#define HALF     (SPECTRUM_SAMPLES / 2)
#define SILENCE  (30 * WHISPER_SAMPLE_RATE) /* appended samples */
#define FLOOR    1e-10f
#define LOWEST   (-10.0f)     /* log10 of it */
#define DEPTH    8            /* of what is heard below the loudest, in log10 */
#define GROUP    KERNEL_LANES /* frames at once */
#define CHUNK    64           /* groups of a task */
#define MAX_MELS 1024

/* For the loads and stores; the arithmetic is the kernels'. */
typedef float v4 __attribute__((vector_size(16)));
typedef int v4i __attribute__((vector_size(16)));

/* A filter is a triangle: a few bins are not zero. */
struct mel_filter {
    int first, count;
    const float *weights; /* borrowed from the model */
};

struct mel_scratch {
    float frames[SPECTRUM_SAMPLES * GROUP];
    float power[SPECTRUM_BINS * GROUP];
    float spectrum[SPECTRUM_SCRATCH];
    float energies[MAX_MELS * GROUP];
    float greatest; /* energy that this thread has seen */
};

struct mel {
    const struct kernels *kernels; /* static */
    struct pool *pool;             /* borrowed */
    struct mel_filter *filters;    /* owned [n_mels] */
    struct mel_scratch *scratch;   /* owned [threads] */
    struct spectrum_tables tables;
    int n_mels;

    const float *samples; /* borrowed [n_samples] */
    int64_t n_samples;
    float loudest; /* log10 of the greatest energy */
};

static void find_filter(struct mel_filter *f, const float *row)
{
    int first = 0, end = SPECTRUM_BINS;
    while (first < end && row[first] == 0)
        first++;
    while (end > first && row[end - 1] == 0)
        end--;
    *f = (struct mel_filter){first, end - first, row + first};
}

int mel_open(struct mel **out, const struct whisper_model *m, struct pool *pool,
             struct err *e)
{
    if (m->config.n_mels < 1 || m->config.n_mels > MAX_MELS)
        return err_set(e, ERR_UNSUPPORTED,
                       "the model has %d mel bands; 1 to %d can be run", m->config.n_mels,
                       MAX_MELS);
    struct mel *f = mem_aligned(1, sizeof *f);
    if (!f)
        return err_set(e, ERR_NOMEM, "no memory for the mel features");
    f->kernels = kernels_choose();
    f->pool = pool;
    f->n_mels = m->config.n_mels;
    f->filters = mem_array((size_t)f->n_mels, sizeof *f->filters);
    f->scratch = mem_aligned((size_t)pool_size(pool), sizeof *f->scratch);
    if (!f->filters || !f->scratch) {
        mel_close(f);
        return err_set(e, ERR_NOMEM, "no memory for the mel features");
    }
    for (int i = 0; i < f->n_mels; i++)
        find_filter(&f->filters[i], m->mel_filters + (size_t)i * SPECTRUM_BINS);
    spectrum_tables_init(&f->tables);
    f->loudest = log10f(FLOOR);
    *out = f;
    return 0;
}

void mel_close(struct mel *f)
{
    if (!f)
        return;
    free(f->filters);
    free(f->scratch);
    free(f);
}

/* ---- 16 frames --------------------------------------------------------------------- */

/* Sample i of the recording with its reflection in front and silence behind. */
static float sample_at(const struct mel *f, int64_t i)
{
    i = i < 0 ? -i : i;
    if (i >= f->n_samples)
        return 0;
    float x = f->samples[i];
    return isfinite(x) ? x : 0;
}

/* Four samples, those that are no number as 0: they alone give no 0 less themselves. */
static v4 load4(const float *samples)
{
    v4 x;
    memcpy(&x, samples, sizeof x);
    return (v4)((v4i)x & (x - x == 0));
}

/* Four samples of four frames, HOP apart, turned: what is at the same place in each frame
 * lies side by side. */
static void turn(const float *samples, float *out)
{
    v4 a = load4(samples), b = load4(samples + HOP);
    v4 c = load4(samples + (ptrdiff_t)2 * HOP), d = load4(samples + (ptrdiff_t)3 * HOP);
    v4 ab_low = {a[0], b[0], a[1], b[1]}, ab_high = {a[2], b[2], a[3], b[3]};
    v4 cd_low = {c[0], d[0], c[1], d[1]}, cd_high = {c[2], d[2], c[3], d[3]};
    const v4 turned[] = {{ab_low[0], ab_low[1], cd_low[0], cd_low[1]},
                         {ab_low[2], ab_low[3], cd_low[2], cd_low[3]},
                         {ab_high[0], ab_high[1], cd_high[0], cd_high[1]},
                         {ab_high[2], ab_high[3], cd_high[2], cd_high[3]}};
    for (int i = 0; i < 4; i++)
        memcpy(out + (ptrdiff_t)i * GROUP, &turned[i], sizeof turned[i]);
}

/* Frames that lie wholly in the recording. */
static void gather_inside(const float *samples, float *frames)
{
    for (int i = 0; i < SPECTRUM_SAMPLES; i += 4)
        for (int lane = 0; lane < GROUP; lane += 4)
            turn(samples + (ptrdiff_t)lane * HOP + i,
                 frames + (ptrdiff_t)i * GROUP + lane);
}

/* Frames first … first + 15 side by side: [400][16]. */
static void gather(const struct mel *f, int64_t first, float *frames)
{
    int64_t at = first * HOP - HALF;
    if (at >= 0 && at + (GROUP - 1) * HOP + SPECTRUM_SAMPLES <= f->n_samples) {
        gather_inside(f->samples + at, frames);
        return;
    }
    for (int i = 0; i < SPECTRUM_SAMPLES; i++)
        for (int lane = 0; lane < GROUP; lane++)
            frames[i * GROUP + lane] = sample_at(f, at + (int64_t)lane * HOP + i);
}

/* Mel energies [n_mels][16] of 16 frames, in the scratch. */
static void group_energies(const struct mel *f, int64_t first, struct mel_scratch *s)
{
    gather(f, first, s->frames);
    f->kernels->spectrum(&f->tables, s->frames, s->power, s->spectrum);
    for (int i = 0; i < f->n_mels; i++) {
        const struct mel_filter *filter = &f->filters[i];
        f->kernels->filter(s->energies + i * GROUP, filter->weights,
                           s->power + filter->first * GROUP, (size_t)filter->count);
    }
}

/* Frames that some sample of the recording falls into: all others are silence. */
static int64_t sounding_frames(const struct mel *f)
{
    return f->n_samples > 0 ? (f->n_samples + HALF - 1) / HOP + 1 : 0;
}

/* ---- the first pass ---------------------------------------------------------------- */

static void loudest_task(void *arg, int task, int thread)
{
    struct mel *f = arg;
    struct mel_scratch *s = &f->scratch[thread];
    int64_t frames = sounding_frames(f), first = (int64_t)task * CHUNK * GROUP;
    for (int group = 0; group < CHUNK && first < frames; group++, first += GROUP) {
        group_energies(f, first, s);
        for (int i = 0; i < f->n_mels * GROUP; i++)
            s->greatest = s->energies[i] > s->greatest ? s->energies[i] : s->greatest;
    }
}

int mel_begin(struct mel *f, const float *samples, size_t n_samples, struct err *e)
{
    if (n_samples > (size_t)INT64_MAX / 4 / sizeof *samples)
        return err_set(e, ERR_TOO_LARGE, "the recording is too long");
    f->samples = samples;
    f->n_samples = (int64_t)n_samples;
    int threads = pool_size(f->pool);
    for (int i = 0; i < threads; i++)
        f->scratch[i].greatest = FLOOR;
    int64_t tasks = (sounding_frames(f) + CHUNK * GROUP - 1) / (CHUNK * GROUP);
    if (tasks > INT32_MAX - threads)
        return err_set(e, ERR_TOO_LARGE, "the recording is too long");
    pool_each(f->pool, (int)tasks, loudest_task, f);
    float greatest = FLOOR;
    for (int i = 0; i < threads; i++)
        if (f->scratch[i].greatest > greatest)
            greatest = f->scratch[i].greatest;
    f->loudest = log10f(greatest < 3e38f ? greatest : 3e38f);
    return 0;
}

int64_t mel_frames(const struct mel *f)
{
    return f->n_samples / HOP;
}

/* ---- the second pass --------------------------------------------------------------- */

struct window_job {
    struct mel *mel;
    int64_t first;
    int frames;
    float least; /* log10: what is lower is taken for this */
    float *out;  /* [frames][n_mels] */
};

static float scaled(float log10_energy)
{
    return (log10_energy + 4) / 4;
}

/* Log, clamp, scale, and back from lanes to rows of one frame. */
static void finish_group(const struct mel *f, struct mel_scratch *s, int frames,
                         float least, float *out)
{
    f->kernels->log10(s->energies, (size_t)f->n_mels * GROUP, FLOOR);
    for (int frame = 0; frame < frames; frame++)
        for (int i = 0; i < f->n_mels; i++) {
            float x = s->energies[i * GROUP + frame];
            out[frame * f->n_mels + i] = scaled(x > least ? x : least);
        }
}

static void window_task(void *arg, int task, int thread)
{
    const struct window_job *job = arg;
    struct mel *f = job->mel;
    struct mel_scratch *s = &f->scratch[thread];
    int at = task * GROUP;
    int frames = job->frames - at;
    frames = frames < GROUP ? frames : GROUP;
    if (job->first + at < sounding_frames(f))
        group_energies(f, job->first + at, s);
    else
        memset(s->energies, 0, sizeof s->energies);
    finish_group(f, s, frames, job->least, job->out + (size_t)at * (size_t)f->n_mels);
}

static void take(struct mel *f, int64_t first, int frames, float least, float *out)
{
    struct window_job job = {f, first, frames, least, out};
    pool_each(f->pool, (frames + GROUP - 1) / GROUP, window_task, &job);
}

void mel_window(struct mel *f, int64_t first, float *out)
{
    take(f, first, WHISPER_WINDOW_FRAMES, f->loudest - DEPTH, out);
}

/* Clamp x[n] below its own loudest value, which is returned. */
static float clamp(float *x, size_t n)
{
    float loudest = scaled(LOWEST);
    for (size_t i = 0; i < n; i++)
        loudest = x[i] > loudest ? x[i] : loudest;
    float least = loudest - DEPTH / 4.0f;
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > least ? x[i] : least;
    return loudest;
}

bool mel_gather(struct mel *f, const struct mel_piece *pieces, size_t n, float *out)
{
    size_t n_mels = (size_t)f->n_mels, at = 0;
    for (size_t i = 0; i < n; i++) {
        assert(at + (size_t)pieces[i].frames <= WHISPER_WINDOW_FRAMES);
        take(f, pieces[i].first, pieces[i].frames, LOWEST, out + at * n_mels);
        at += (size_t)pieces[i].frames;
    }
    float loudest = clamp(out, at * n_mels);
    memset(out + at * n_mels, 0, (WHISPER_WINDOW_FRAMES - at) * n_mels * sizeof *out);
    return loudest > scaled(fmaxf(f->loudest - DEPTH, LOWEST));
}
