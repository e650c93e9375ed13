#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "random_model.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"

#include <math.h>

#define MOST_PARTS 300

static uint64_t seed;
static void *parts[MOST_PARTS]; /* owned */
static size_t n_parts;

static void *part(size_t count, size_t size)
{
    assert_true(n_parts < MOST_PARTS);
    void *memory = mem_aligned(count, size);
    assert_non_null(memory);
    return parts[n_parts++] = memory;
}

static float next_float(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(seed >> 32) / 2147483648.0f;
}

static float *vector(size_t n, float middle, float range)
{
    float *x = part(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = middle + range * next_float();
    return x;
}

/* A row of panels of floats into those of 8 bits; returns its scale. */
static float quantise_row(uint8_t *to, const float *wide, int row, int cols)
{
    size_t from = (size_t)(row / 16) * (size_t)cols * 16 + row % 16u, panel = 0;
    float most = 0;
    for (int c = 0; c < cols; c++)
        most = fmaxf(most, fabsf(wide[from + (size_t)c * 16]));
    panel = (size_t)(row / 16) * weight_panel_bytes(WEIGHT_S8, cols);
    for (int c = 0; c < cols; c++)
        to[panel + (size_t)(c / 4) * 64 + row % 16u * 4 + c % 4u] =
            (uint8_t)(128 + (int)rintf(wide[from + (size_t)c * 16] * 127 / most));
    return most / 127;
}

/* Values that halves hold exactly, so that both types are the same model; in 8 bits they
 * are near it. */
static struct weight matrix(enum weight_type type, int rows, int cols, bool bias)
{
    size_t n = (size_t)(rows + 15) / 16 * 16 * (size_t)cols;
    struct weight w = {.type = type, .rows = rows, .cols = cols};
    float range = 2.0f / sqrtf((float)cols);
    float *wide = part(n, sizeof *wide);
    uint16_t *half = part(n, sizeof *half);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            size_t at = ((size_t)(r / 16) * (size_t)cols + (size_t)c) * 16 + r % 16u;
            half[at] = half_from_float(range * next_float());
            wide[at] = half_to_float(half[at]);
        }
    w.data = type == WEIGHT_F16 ? (const void *)half : (const void *)wide;
    if (type == WEIGHT_S8) {
        size_t panels = (size_t)(rows + 15) / 16;
        uint8_t *codes = part(panels, weight_panel_bytes(type, cols));
        float *scales = part(panels * 16, sizeof *scales);
        memset(codes, 128, panels * weight_panel_bytes(type, cols));
        for (int r = 0; r < rows; r++)
            scales[r] = quantise_row(codes, wide, r, cols);
        w.data = codes;
        w.scales = scales;
    }
    w.bias = bias ? vector((size_t)rows, 0, 0.1f) : NULL;
    return w;
}

static struct layer_norm norm(int n)
{
    return (struct layer_norm){vector((size_t)n, 1, 0.2f), vector((size_t)n, 0, 0.1f)};
}

static void fill(struct whisper_model *m, enum weight_type type)
{
    const struct whisper_config *c = &m->config;
    int a = c->n_audio_state, t = c->n_text_state;
    enum weight_type conv = type == WEIGHT_S8 ? WEIGHT_F16 : type;
    m->conv1 = matrix(conv, a, 3 * c->n_mels, true);
    m->conv2 = matrix(conv, a, 3 * a, true);
    m->audio_positions = vector((size_t)c->n_audio_ctx * (size_t)a, 0, 0.5f);
    m->audio_norm = norm(a);
    m->encoder = part((size_t)c->n_audio_layer, sizeof *m->encoder);
    for (int i = 0; i < c->n_audio_layer; i++)
        m->encoder[i] = (struct encoder_layer){norm(a),
                                               norm(a),
                                               matrix(type, 3 * a, a, true),
                                               matrix(type, a, a, true),
                                               matrix(type, 4 * a, a, true),
                                               matrix(type, a, 4 * a, true)};
    m->token_embedding = matrix(type, c->n_vocab, t, false);
    m->text_positions = vector((size_t)c->n_text_ctx * (size_t)t, 0, 0.5f);
    m->text_norm = norm(t);
    m->decoder = part((size_t)c->n_text_layer, sizeof *m->decoder);
    for (int i = 0; i < c->n_text_layer; i++)
        m->decoder[i] = (struct decoder_layer){norm(t),
                                               norm(t),
                                               norm(t),
                                               matrix(type, 3 * t, t, true),
                                               matrix(type, t, t, true),
                                               matrix(type, t, t, true),
                                               matrix(type, 2 * t, a, true),
                                               matrix(type, t, t, true),
                                               matrix(type, 4 * t, t, true),
                                               matrix(type, t, 4 * t, true)};
    m->mel_filters = vector((size_t)c->n_mels * SPECTRUM_BINS, 0.01f, 0.01f);
}

struct whisper_model *random_model_new(enum weight_type type)
{
    seed = 7;
    n_parts = 0;
    struct whisper_model *m = part(1, sizeof *m);
    m->config = (struct whisper_config){.n_vocab = 101,
                                        .n_audio_ctx = WHISPER_WINDOW_FRAMES / 2,
                                        .n_audio_state = 32,
                                        .n_audio_head = 2,
                                        .n_audio_layer = 2,
                                        .n_text_ctx = 40,
                                        .n_text_state = 48,
                                        .n_text_head = 3,
                                        .n_text_layer = 2,
                                        .n_mels = 10};
    fill(m, type);
    return m;
}

void random_model_free(struct whisper_model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < n_parts; i++)
        free(parts[i]);
    n_parts = 0;
}
