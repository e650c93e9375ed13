#include "engine/rules.h"

#include "engine/kernels/kernels.h"

#include <math.h>
#include <pthread.h>

enum { LANES = 16 };

/* Below this the exponential is 0: 1e-35 of the whole never matters. */
static const float negligible = -80.0f;

/* e^x for x <= 0, relative error below 2e-7; exactly 0 below `negligible`. expf cannot be
 * vectorised at the accuracy that the language promises; this can. */
static inline float exp_negative(float x)
{
    float clamped = x > negligible ? x : negligible; /* NaN too */
    float t = clamped * 1.44269504f;
    int32_t whole = (int32_t)(t - 0.5f); /* towards zero: rounds, as t is not positive */
    float f = (float)whole;
    /* ln 2 in two parts, so that what remains is exact. */
    float r = clamped - f * 0.693359375f;
    r -= f * -2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    union {
        int32_t bits;
        float value;
    } power = {.bits = (whole + 127) << 23};
    return x > negligible ? p * power.value : 0.0f;
}

/* One pass over the vocabulary for the best token, and at most one for the sum of
 * exponentials: as many vectors as the processor has. */
static pthread_once_t chosen = PTHREAD_ONCE_INIT;
static const struct kernels *kernels;

static void choose_kernels(void)
{
    kernels = kernels_choose();
}

static const struct kernels *vectors(void)
{
    pthread_once(&chosen, choose_kernels);
    return kernels;
}

static float range_max(const float *x, int32_t begin, int32_t end)
{
    return begin < end ? vectors()->most(x + begin, (size_t)(end - begin)) : -INFINITY;
}

/* Sum of e^((x - max) * scale) over [begin, end). */
static double range_exp_sum(const float *x, int32_t begin, int32_t end, float max,
                            float scale)
{
    return begin < end ? vectors()->exp_sum(x + begin, (size_t)(end - begin), max, scale)
                       : 0;
}

static void suppress_all(const struct rules *r, const int32_t *ids, size_t n,
                         float *logits)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= 0 && ids[i] < r->n_vocab)
            logits[ids[i]] = -INFINITY;
    }
}

static void suppress(const struct rules *r, size_t count, float *logits)
{
    suppress_all(r, r->suppressed, r->n_suppressed, logits);
    suppress_all(r, r->unwanted, r->n_unwanted, logits);
    if (r->timestamps && r->special.no_timestamps >= 0)
        logits[r->special.no_timestamps] = -INFINITY;
    if (count == 0 && r->blank >= 0) {
        logits[r->blank] = -INFINITY;
        logits[r->special.eot] = -INFINITY;
    }
}

/* ---- what was said --------------------------------------------------------------- */

static bool is_text(const struct rules *r, int32_t id)
{
    return id < r->special.eot;
}

static bool is_among(const int32_t *ids, size_t n, int32_t id)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

/* Each token of the text once, however often it was said. */
static void penalise(const struct rules *r, const int32_t *sampled, size_t count,
                     float *logits)
{
    for (size_t i = 0; i < count; i++) {
        int32_t id = sampled[i];
        if (!is_text(r, id) || is_among(sampled, i, id))
            continue;
        logits[id] = logits[id] > 0 ? logits[id] / r->repetition_penalty
                                    : logits[id] * r->repetition_penalty;
    }
}

/* Do the tokens of text that end before `end` equal the last `n` of all, backwards and
 * without the timestamps between? */
static bool ends_alike(const struct rules *r, const int32_t *sampled, size_t end,
                       size_t count, int n)
{
    while (n > 0) {
        while (end > 0 && !is_text(r, sampled[end - 1]))
            end--;
        while (count > 0 && !is_text(r, sampled[count - 1]))
            count--;
        if (end == 0 || count == 0 || sampled[end - 1] != sampled[count - 1])
            return false;
        end--;
        count--;
        n--;
    }
    return true;
}

/* What followed the last n - 1 tokens of text wherever they came before. */
static void forbid_ngrams(const struct rules *r, const int32_t *sampled, size_t count,
                          float *logits)
{
    for (size_t i = 0; i < count; i++) {
        if (is_text(r, sampled[i]) &&
            ends_alike(r, sampled, i, count, r->no_repeat_ngram - 1))
            logits[sampled[i]] = -INFINITY;
    }
}

/* ---- the grammar ----------------------------------------------------------------- */

/* The part of the grammar that looks at the tokens alone. */
static struct allowed grammar(const struct rules *r, const int32_t *sampled, size_t count)
{
    int32_t begin = r->special.timestamp_begin;
    struct allowed a = {0, begin, begin, r->n_vocab};
    if (count == 0) {
        a.text_end = 0;
        if (r->max_initial >= 0 && begin + r->max_initial + 1 < a.stamp_end)
            a.stamp_end = begin + r->max_initial + 1;
        return a;
    }
    bool last = sampled[count - 1] >= begin;
    bool before_last = count < 2 || sampled[count - 2] >= begin;
    if (last && before_last)
        a.stamp_end = a.stamp_begin; /* a segment was opened: text must come */
    else if (last)
        a.text_begin = r->special.eot; /* one was closed: its pair, or the end */

    for (size_t i = count; i-- > 0;) {
        if (sampled[i] < begin)
            continue;
        /* Never back; and no segment without length, or the window would not move on. */
        int32_t lowest = sampled[i] + (last && !before_last ? 0 : 1);
        if (a.stamp_begin < lowest)
            a.stamp_begin = lowest;
        break;
    }
    if (a.stamp_begin > a.stamp_end)
        a.stamp_begin = a.stamp_end;
    return a;
}

struct allowed rules_allow(const struct rules *r, const int32_t *sampled, size_t count,
                           float *logits)
{
    if (r->repetition_penalty != 1.0f)
        penalise(r, sampled, count, logits);
    if (r->no_repeat_ngram > 0)
        forbid_ngrams(r, sampled, count, logits);
    suppress(r, count, logits);
    if (!r->timestamps) {
        int32_t begin = r->special.timestamp_begin;
        return (struct allowed){0, begin, begin, begin};
    }
    struct allowed a = grammar(r, sampled, count);
    if (a.text_begin >= a.text_end || a.stamp_begin >= a.stamp_end)
        return a;
    /* Both sides share the softmax's denominator, so logits may be compared. */
    float best_stamp = range_max(logits, a.stamp_begin, a.stamp_end);
    float best_text = range_max(logits, a.text_begin, a.text_end);
    if (!isfinite(best_stamp))
        return a;
    double all_stamps = best_stamp + log(range_exp_sum(logits, a.stamp_begin, a.stamp_end,
                                                       best_stamp, 1.0f));
    if (all_stamps > best_text)
        a.text_begin = a.text_end;
    return a;
}

static float allowed_max(const float *logits, const struct allowed *a)
{
    float text = range_max(logits, a->text_begin, a->text_end);
    float stamp = range_max(logits, a->stamp_begin, a->stamp_end);
    return text > stamp ? text : stamp;
}

static double allowed_exp_sum(const float *logits, const struct allowed *a, float max,
                              float scale)
{
    return range_exp_sum(logits, a->text_begin, a->text_end, max, scale) +
           range_exp_sum(logits, a->stamp_begin, a->stamp_end, max, scale);
}

static struct choice choose(const float *logits, const struct allowed *a, float max,
                            int32_t token)
{
    double logprob = logits[token] - max - log(allowed_exp_sum(logits, a, max, 1.0f));
    return (struct choice){token, (float)logprob};
}

/* ---- the best -------------------------------------------------------------------- */

/* The best so far, best first; `logprob` holds the logit. */
struct top {
    struct choice *out; /* borrowed [most] */
    int n, most;
};

static void insert(struct top *t, int32_t token, float logit)
{
    int at = t->n < t->most ? t->n++ : t->most - 1;
    for (; at > 0 && t->out[at - 1].logprob < logit; at--)
        t->out[at] = t->out[at - 1];
    t->out[at] = (struct choice){token, logit};
}

/* One pass that takes the greatest of a block, which is vector code; few blocks hold one
 * that is greater than the least of those that are kept, and are looked at one by one. */
static void top_of_range(struct top *t, const float *logits, int32_t begin, int32_t end)
{
    enum { BLOCK = 8 * LANES };
    float least = t->n == t->most ? t->out[t->most - 1].logprob : -INFINITY;
    for (int32_t block = begin; block < end; block += BLOCK) {
        int32_t stop = end - block < BLOCK ? end : block + BLOCK;
        if (!(range_max(logits, block, stop) > least))
            continue;
        for (int32_t i = block; i < stop; i++) {
            if (!(logits[i] > least))
                continue;
            insert(t, i, logits[i]);
            if (t->n == t->most)
                least = t->out[t->most - 1].logprob;
        }
    }
}

int rules_top(const float *logits, const struct allowed *a, int most, struct choice *out)
{
    struct top t = {out, 0, most};
    top_of_range(&t, logits, a->text_begin, a->text_end);
    top_of_range(&t, logits, a->stamp_begin, a->stamp_end);
    if (t.n == 0 || !isfinite(out[0].logprob))
        return 0;
    float max = out[0].logprob;
    double all = log(allowed_exp_sum(logits, a, max, 1.0f));
    for (int i = 0; i < t.n; i++)
        out[i].logprob = (float)((double)out[i].logprob - max - all);
    return t.n;
}

struct choice rules_best(const float *logits, const struct allowed *a, int32_t fallback)
{
    struct choice best;
    if (rules_top(logits, a, 1, &best) == 0)
        return (struct choice){fallback, -INFINITY};
    return best;
}

/* ---- by chance ------------------------------------------------------------------- */

/* Walk over a range until `left` is used up. Returns the token, or -1 with what is left;
 * *last is the last token that could have been taken. */
static int32_t walk(const float *logits, int32_t begin, int32_t end, float max,
                    float scale, double *left, int32_t *last)
{
    for (int32_t i = begin; i < end; i++) {
        float weight = exp_negative((logits[i] - max) * scale);
        if (!(weight > 0))
            continue;
        *left -= weight;
        *last = i;
        if (*left < 0)
            return i;
    }
    return -1;
}

struct choice rules_sample(const float *logits, const struct allowed *a,
                           float temperature, double random, int32_t fallback)
{
    float max = allowed_max(logits, a);
    if (!isfinite(max))
        return (struct choice){fallback, -INFINITY};
    float scale = 1.0f / temperature;
    double left = random * allowed_exp_sum(logits, a, max, scale);
    int32_t last = fallback;
    int32_t token = walk(logits, a->text_begin, a->text_end, max, scale, &left, &last);
    if (token < 0)
        token = walk(logits, a->stamp_begin, a->stamp_end, max, scale, &left, &last);
    /* The two sums round differently: the end may be reached with a little left. */
    return choose(logits, a, max, token < 0 ? last : token);
}

float rules_probability(const float *logits, int32_t count, int32_t id)
{
    float max = range_max(logits, 0, count);
    if (!isfinite(max) || id < 0 || id >= count)
        return 0;
    return (float)(exp((double)logits[id] - max) /
                   range_exp_sum(logits, 0, count, max, 1.0f));
}

void rules_softmax(const float *logits, int32_t count, float *out)
{
    float max = range_max(logits, 0, count);
    double sum = isfinite(max) ? range_exp_sum(logits, 0, count, max, 1.0f) : 1.0;
    for (int32_t i = 0; i < count; i++)
        out[i] = isfinite(max) ? (float)(exp((double)logits[i] - max) / sum) : 0.0f;
}

double rules_score(double sum, size_t count, float length_penalty)
{
    return sum / pow((double)(count > 0 ? count : 1), (double)length_penalty);
}

/* One step of SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t mix(uint64_t z)
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_init(struct rng *g, uint64_t seed, uint64_t window, uint32_t attempt,
              uint32_t candidate)
{
    g->state = mix(mix(mix(seed) ^ window) ^ ((uint64_t)attempt << 32 | candidate));
}

double rng_uniform(struct rng *g)
{
    g->state += 0x9e3779b97f4a7c15u;
    return (double)(mix(g->state) >> 11) * 0x1.0p-53;
}
