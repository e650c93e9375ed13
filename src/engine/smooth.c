#include "engine/smooth.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/session.h"
#include "engine/threads.h"

#include <math.h>

#define LAYER_STATES 7 /* state times that is what a layer's inputs are */
#define MOST_POWER   6 /* of two, of a factor */

struct smooth {
    int layers, state;
    float *factors; /* owned [inputs_of] */
};

static size_t inputs_of(const struct whisper_config *c)
{
    return ((size_t)c->n_audio_layer * LAYER_STATES + 1) * (size_t)c->n_audio_state;
}

/* Where those of a layer begin in all of them. */
static size_t at_input(int state, int layer, enum smooth_input input)
{
    return ((size_t)layer * LAYER_STATES + (size_t)input) * (size_t)state;
}

/* ---- the sound ----------------------------------------------------------------------
 */

/* From 0 up to 1 and down again, once in `period` frames. */
static float swing(int frame, int period)
{
    float at = (float)(frame % period) / (float)period * 2;
    return at < 1 ? at : 2 - at;
}

/* How much of a band of `width` around `middle` is in `bin`, all parts of the range. */
static float bump(float bin, float middle, float width)
{
    float distance = (bin - middle) / width;
    return 1 / (1 + distance * distance);
}

/* Log-mel features of something like a voice: syllables of a few bands that move, harsh
 * ones between, soft and loud, with pauses, over faint noise. Behind it is nothing, as in
 * most windows. */
static void make_sound(float *out, int n_mels)
{
    uint32_t random = 1;
    memset(out, 0, (size_t)WHISPER_WINDOW_FRAMES * (size_t)n_mels * sizeof *out);
    for (int f = 0; f < WHISPER_WINDOW_FRAMES * 3 / 4; f++) {
        float loud = swing(f, 27) * (0.6f + 0.5f * swing(f, 331));
        bool pause = f % 450 > 380, harsh = f / 27 % 3 == 2;
        for (int b = 0; b < n_mels; b++) {
            float bin = (float)b / (float)n_mels, heard;
            random = random * 1664525u + 1013904223u;
            float noise = (float)(random >> 8) / 16777216.0f;
            float voice = bump(bin, 0.12f + 0.15f * swing(f, 59), 0.05f) +
                          0.8f * bump(bin, 0.3f + 0.3f * swing(f, 83), 0.05f) +
                          0.6f * bump(bin, 0.7f + 0.1f * swing(f, 47), 0.08f) +
                          0.2f * swing(b, 4 + f / 211 % 3);
            heard = harsh ? 0.7f * bin + 0.4f * noise : voice;
            heard = -0.6f + 0.2f * noise + (pause ? 0 : 1.6f * loud * heard);
            out[(size_t)f * (size_t)n_mels + (size_t)b] = heard < 1.4f ? heard : 1.4f;
        }
    }
}

/* ---- listening ----------------------------------------------------------------------
 */

struct listening {
    const struct whisper_model *model; /* borrowed */
    const struct kernels *kernels;     /* static */
    float *most;                       /* owned [threads][inputs] */
    size_t inputs;
};

/* Where the inputs of a matrix begin; false: nobody wants to know. */
static bool find_inputs(const struct whisper_model *m, const struct weight *w, size_t *at)
{
    int state = m->config.n_audio_state, layers = m->config.n_audio_layer;
    if (w == &m->decoder[0].cross_kv) {
        *at = at_input(state, layers, 0);
        return true;
    }
    for (int i = 0; i < layers; i++) {
        const struct encoder_layer *l = &m->encoder[i];
        const struct weight *const of[] = {&l->attn_qkv, &l->attn_out, &l->mlp_up,
                                           &l->mlp_down};
        for (int k = 0; k < 4; k++)
            if (w == of[k]) {
                *at = at_input(state, i, (enum smooth_input)k);
                return true;
            }
    }
    return false;
}

static void listen(void *arg, int thread, const struct weight *w, const float *x)
{
    const struct listening *l = arg;
    size_t at;
    if (!find_inputs(l->model, w, &at))
        return;
    float *most = l->most + (size_t)thread * l->inputs + at;
    if (l->kernels->greatest) {
        l->kernels->greatest(most, x, (size_t)w->cols);
        return;
    }
    for (int i = 0; i < w->cols; i++) {
        float size = fabsf(x[i]);
        most[i] = size > most[i] ? size : most[i];
    }
}

/* What all threads have heard, in place of what the first has. */
static void join(struct listening *l, int threads)
{
    for (int t = 1; t < threads; t++)
        for (size_t i = 0; i < l->inputs; i++) {
            float other = l->most[(size_t)t * l->inputs + i];
            l->most[i] = other > l->most[i] ? other : l->most[i];
        }
}

static int hear(struct listening *l, struct net *net, struct err *e)
{
    int threads = pool_size(net_pool(net)), n_mels = l->model->config.n_mels;
    float *sound =
        mem_array((size_t)WHISPER_WINDOW_FRAMES * (size_t)n_mels, sizeof *sound);
    l->most = mem_array((size_t)threads * l->inputs, sizeof *l->most);
    if (!sound || !l->most) {
        free(sound);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    make_sound(sound, n_mels);
    net_set_listen(net, listen, l);
    net_encode(net, 0, (const float *const *)&sound, 1);
    free(sound);
    join(l, threads);
    return 0;
}

/* ---- factors ------------------------------------------------------------------------
 */

static bool counts(float most)
{
    return most > 1e-20f && most < 1e20f;
}

void smooth_choose(const float *most, int n, float *factors)
{
    double sum = 0;
    int counted = 0;
    for (int i = 0; i < n; i++)
        if (counts(most[i])) {
            sum += log2((double)most[i]);
            counted++;
        }
    double usual = counted ? sum / counted : 0;
    for (int i = 0; i < n; i++) {
        double power = counts(most[i]) ? (log2((double)most[i]) - usual) / 2 : 0;
        power = fmin(fmax(rint(power), -MOST_POWER), MOST_POWER);
        factors[i] = (float)ldexp(1, (int)power);
    }
}

static void choose_all(struct smooth *s, const float *most)
{
    for (int layer = 0; layer < s->layers; layer++)
        for (int k = SMOOTH_ATTN; k <= SMOOTH_DOWN; k++) {
            size_t at = at_input(s->state, layer, (enum smooth_input)k);
            int n = k == SMOOTH_DOWN ? 4 * s->state : s->state;
            smooth_choose(most + at, n, s->factors + at);
        }
    size_t last = at_input(s->state, s->layers, 0);
    smooth_choose(most + last, s->state, s->factors + last);
}

int smooth_measure(struct smooth **out, const struct whisper_model *m, struct err *e)
{
    const struct net_options options = {
        .max_windows = 1, .max_slots = 1, .short_attention = true};
    struct listening l = {
        .model = m, .kernels = kernels_choose(), .inputs = inputs_of(&m->config)};
    struct net *net = NULL;
    struct smooth *s = mem_array(1, sizeof *s);
    float *factors = mem_array(l.inputs, sizeof *factors);
    int status = s && factors ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    if (!status)
        status = net_open(&net, m, &options, e);
    if (!status)
        status = hear(&l, net, e);
    if (!status) {
        *s = (struct smooth){m->config.n_audio_layer, m->config.n_audio_state, factors};
        choose_all(s, l.most);
        *out = s;
    } else {
        free(factors);
        free(s);
    }
    free(l.most);
    net_close(net);
    return status;
}

void smooth_free(struct smooth *s)
{
    if (!s)
        return;
    free(s->factors);
    free(s);
}

const float *smooth_factors(const struct smooth *s, int layer, enum smooth_input input)
{
    return s->factors + at_input(s->state, layer, input);
}

const float *smooth_heard(const struct smooth *s)
{
    return s->factors + at_input(s->state, s->layers, 0);
}

/* ---- parts --------------------------------------------------------------------------
 */

static void in_encoder(const struct smooth *s, int layer, const struct model_part *part,
                       int slot, const float **columns, const float **rows)
{
    bool values = part->first_row == 2 * s->state;
    if ((slot == ENC_QKV || slot == ENC_QKV_BIAS) && values)
        *rows = smooth_factors(s, layer, SMOOTH_OUT);
    switch (slot) {
    case ENC_ATTN_NORM_GAIN:
    case ENC_ATTN_NORM_BIAS:
        *rows = smooth_factors(s, layer, SMOOTH_ATTN);
        break;
    case ENC_MLP_NORM_GAIN:
    case ENC_MLP_NORM_BIAS:
        *rows = smooth_factors(s, layer, SMOOTH_UP);
        break;
    case ENC_QKV:
        *columns = smooth_factors(s, layer, SMOOTH_ATTN);
        break;
    case ENC_OUT:
        *columns = smooth_factors(s, layer, SMOOTH_OUT);
        break;
    case ENC_UP:
        *columns = smooth_factors(s, layer, SMOOTH_UP);
        break;
    case ENC_DOWN:
        *columns = smooth_factors(s, layer, SMOOTH_DOWN);
        break;
    default:
        break;
    }
}

void smooth_part(const struct smooth *s, const struct model_plan *p, int part,
                 const float **columns, const float **rows)
{
    int slot = p->parts[part].slot, text = plan_decoder_slot(&p->config, 0, 0);
    *columns = *rows = NULL;
    if (slot == SLOT_AUDIO_NORM_GAIN || slot == SLOT_AUDIO_NORM_BIAS)
        *rows = smooth_heard(s);
    else if (slot >= text && (slot - text) % DEC_SLOTS == DEC_CROSS_KV)
        *columns = smooth_heard(s);
    else if (slot >= FIXED_SLOTS && slot < text)
        in_encoder(s, (slot - FIXED_SLOTS) / ENC_SLOTS, &p->parts[part],
                   (slot - FIXED_SLOTS) % ENC_SLOTS, columns, rows);
}
