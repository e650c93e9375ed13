#include "engine/model.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/model_cache.h"
#include "engine/model_ggml.h"
#include "engine/model_image.h"
#include "engine/model_safetensors.h"
#include "engine/tokenizer.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_source(struct model_source *s, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st))
        return err_errno(e, "cannot open the model %s", path);
    if (S_ISDIR(st.st_mode))
        return safetensors_read(s, path, e);
    return ggml_read(s, path, e);
}

int whisper_model_attach(struct whisper_model **out, int fd, struct err *e)
{
    struct whisper_model *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = image_attach(m, fd, e);
    if (status) {
        whisper_model_free(m);
        return status;
    }
    *out = m;
    return 0;
}

/* A damaged vocabulary shows when a tokenizer is made of it. */
static int check_tokens(const struct whisper_model *m, struct err *e)
{
    struct tokenizer *t = NULL;
    int status = tokenizer_open(&t, m, e);
    tokenizer_close(t);
    return status;
}

/* Map an image, and check what only that shows. */
static int open_image(struct whisper_model **out, int fd, struct err *e)
{
    struct whisper_model *m = NULL;
    int status = whisper_model_attach(&m, fd, e);
    if (!status)
        status = check_tokens(m, e);
    if (status)
        whisper_model_free(m);
    else
        *out = m;
    return status;
}

/* From the model's own file, which takes longest. */
static int pack(struct whisper_model **out, const char *path,
                enum whisper_weights weights, struct err *e)
{
    struct model_source source = {0};
    int fd = -1, status = read_source(&source, path, e);
    if (!status) {
        status = image_build(&source, weights, &fd, e);
        if (!status)
            status = open_image(out, fd, e);
        if (status)
            err_prefix(e, "%s", path);
    }
    model_source_release(&source);
    if (!status)
        model_cache_write(path, weights, fd);
    if (fd >= 0)
        close(fd);
    return status;
}

int whisper_model_load(struct whisper_model **out, const char *path,
                       enum whisper_weights weights, struct err *e)
{
    int fd;
    if (weights == WHISPER_WEIGHTS_FASTEST)
        weights =
            kernels_choose()->attend ? WHISPER_WEIGHTS_8_BITS : WHISPER_WEIGHTS_AS_GIVEN;
    if (model_cache_read(path, weights, &fd) == 0) {
        int status = whisper_model_attach(out, fd, NULL);
        close(fd);
        if (!status)
            return 0;
    }
    return pack(out, path, weights, e);
}

int whisper_model_image_fd(const struct whisper_model *m)
{
    return m->image_fd;
}

void whisper_model_free(struct whisper_model *m)
{
    if (!m)
        return;
    if (m->image)
        munmap((void *)(uintptr_t)m->image, m->image_bytes);
    if (m->image_fd >= 0)
        close(m->image_fd);
    free(m->encoder);
    free(m->decoder);
    free(m);
}

/* ---- describe ---------------------------------------------------------------------- */

/* Layers of both halves, width and mel bins say which of the published models it is. The
 * first and second large models have the same dimensions. */
static const struct {
    int audio_layers, text_layers, state, n_mels;
    const char *type;
} published[] = {
    {4, 4, 384, 80, "tiny"},
    {6, 6, 512, 80, "base"},
    {12, 12, 768, 80, "small"},
    {24, 24, 1024, 80, "medium"},
    {32, 32, 1280, 80, "large-v1/v2"},
    {32, 32, 1280, 128, "large-v3"},
    {32, 4, 1280, 128, "large-v3-turbo"},
    {12, 4, 768, 80, "distil-small"},
    {24, 2, 1024, 80, "distil-medium"},
    {32, 2, 1280, 80, "distil-large-v2"},
    {32, 2, 1280, 128, "distil-large-v3"},
};

static const char *type_of(const struct whisper_config *c)
{
    for (size_t i = 0; i < ARRAY_LENGTH(published); i++)
        if (published[i].audio_layers == c->n_audio_layer &&
            published[i].text_layers == c->n_text_layer &&
            published[i].state == c->n_audio_state && published[i].n_mels == c->n_mels)
            return published[i].type;
    return NULL;
}

void whisper_model_describe(const struct whisper_model *m, struct whisper_model_info *out)
{
    const struct whisper_config *c = &m->config;
    const char *type = type_of(c);
    *out = (struct whisper_model_info){
        .multilingual = c->multilingual,
        .n_mels = c->n_mels,
        .n_languages = c->n_languages,
        .n_vocabulary = c->n_vocab,
        .n_audio_layers = c->n_audio_layer,
        .n_audio_state = c->n_audio_state,
        .n_text_layers = c->n_text_layer,
        .n_text_state = c->n_text_state,
        .image_bytes = m->image_bytes,
    };
    if (type)
        (void)snprintf(out->type, sizeof out->type, "%s%s", type,
                       c->multilingual ? "" : ".en");
    else
        (void)snprintf(out->type, sizeof out->type, "%d+%d layers of %d",
                       c->n_audio_layer, c->n_text_layer, c->n_audio_state);
    memcpy(out->weights, m->weights_name, sizeof out->weights);
}

size_t weight_panel_bytes(enum weight_type type, int cols)
{
    size_t n = (size_t)cols;
    if (type == WEIGHT_S8)
        return (n + 3) / 4 * 4 * WEIGHT_PANEL;
    return n * WEIGHT_PANEL * (type == WEIGHT_F16 ? sizeof(uint16_t) : sizeof(float));
}

float weight_at(const struct weight *w, int row, int column)
{
    if (w->type == WEIGHT_S8) {
        const uint8_t *panel =
            (const uint8_t *)w->data +
            (size_t)(row / WEIGHT_PANEL) * weight_panel_bytes(w->type, w->cols);
        int number =
            panel[column / 4 * 4 * WEIGHT_PANEL + row % WEIGHT_PANEL * 4 + column % 4];
        return (float)(number - 128) * w->scales[row];
    }
    size_t at = (size_t)(row / WEIGHT_PANEL) * (size_t)w->cols * WEIGHT_PANEL +
                (size_t)column * WEIGHT_PANEL + (size_t)(row % WEIGHT_PANEL);
    if (w->type == WEIGHT_F16)
        return f16_to_f32(((const uint16_t *)w->data)[at]);
    return ((const float *)w->data)[at];
}
