#include "engine/model_plan.h"

#include "base/mem.h"

#define IMAGE_ALIGN 64

enum shape {
    SHAPE_STATE,     /* [state] */
    SHAPE_STATE4,    /* [4 * state] */
    SHAPE_SQUARE,    /* [state][state] */
    SHAPE_UP,        /* [4 * state][state] */
    SHAPE_DOWN,      /* [state][4 * state] */
    SHAPE_CONV1,     /* [state][n_mels][3] */
    SHAPE_CONV2,     /* [state][state][3] */
    SHAPE_CONV_BIAS, /* [state] */
    SHAPE_AUDIO_POSITIONS,
    SHAPE_TEXT_POSITIONS,
    SHAPE_TOKENS,
};

/* One tensor of a file: its names, the slot that it fills, and at which multiple of the
 * state it begins there. */
struct rule {
    const char *ggml, *hf;
    uint8_t slot, block;
    enum shape shape;
};

static const struct rule fixed_rules[] = {
    {"encoder.conv1.weight", "encoder.conv1.weight", SLOT_CONV1, 0, SHAPE_CONV1},
    {"encoder.conv1.bias", "encoder.conv1.bias", SLOT_CONV1_BIAS, 0, SHAPE_CONV_BIAS},
    {"encoder.conv2.weight", "encoder.conv2.weight", SLOT_CONV2, 0, SHAPE_CONV2},
    {"encoder.conv2.bias", "encoder.conv2.bias", SLOT_CONV2_BIAS, 0, SHAPE_CONV_BIAS},
    {"encoder.positional_embedding", "encoder.embed_positions.weight",
     SLOT_AUDIO_POSITIONS, 0, SHAPE_AUDIO_POSITIONS},
    {"encoder.ln_post.weight", "encoder.layer_norm.weight", SLOT_AUDIO_NORM_GAIN, 0,
     SHAPE_STATE},
    {"encoder.ln_post.bias", "encoder.layer_norm.bias", SLOT_AUDIO_NORM_BIAS, 0,
     SHAPE_STATE},
    {"decoder.token_embedding.weight", "decoder.embed_tokens.weight", SLOT_TOKENS, 0,
     SHAPE_TOKENS},
    {"decoder.positional_embedding", "decoder.embed_positions.weight",
     SLOT_TEXT_POSITIONS, 0, SHAPE_TEXT_POSITIONS},
    {"decoder.ln.weight", "decoder.layer_norm.weight", SLOT_TEXT_NORM_GAIN, 0,
     SHAPE_STATE},
    {"decoder.ln.bias", "decoder.layer_norm.bias", SLOT_TEXT_NORM_BIAS, 0, SHAPE_STATE},
};

/* In every layer of both halves. The key has no bias. */
static const struct rule layer_rules[] = {
    {"attn_ln.weight", "self_attn_layer_norm.weight", ENC_ATTN_NORM_GAIN, 0, SHAPE_STATE},
    {"attn_ln.bias", "self_attn_layer_norm.bias", ENC_ATTN_NORM_BIAS, 0, SHAPE_STATE},
    {"attn.query.weight", "self_attn.q_proj.weight", ENC_QKV, 0, SHAPE_SQUARE},
    {"attn.query.bias", "self_attn.q_proj.bias", ENC_QKV_BIAS, 0, SHAPE_STATE},
    {"attn.key.weight", "self_attn.k_proj.weight", ENC_QKV, 1, SHAPE_SQUARE},
    {"attn.value.weight", "self_attn.v_proj.weight", ENC_QKV, 2, SHAPE_SQUARE},
    {"attn.value.bias", "self_attn.v_proj.bias", ENC_QKV_BIAS, 2, SHAPE_STATE},
    {"attn.out.weight", "self_attn.out_proj.weight", ENC_OUT, 0, SHAPE_SQUARE},
    {"attn.out.bias", "self_attn.out_proj.bias", ENC_OUT_BIAS, 0, SHAPE_STATE},
    {"mlp_ln.weight", "final_layer_norm.weight", ENC_MLP_NORM_GAIN, 0, SHAPE_STATE},
    {"mlp_ln.bias", "final_layer_norm.bias", ENC_MLP_NORM_BIAS, 0, SHAPE_STATE},
    {"mlp.0.weight", "fc1.weight", ENC_UP, 0, SHAPE_UP},
    {"mlp.0.bias", "fc1.bias", ENC_UP_BIAS, 0, SHAPE_STATE4},
    {"mlp.2.weight", "fc2.weight", ENC_DOWN, 0, SHAPE_DOWN},
    {"mlp.2.bias", "fc2.bias", ENC_DOWN_BIAS, 0, SHAPE_STATE},
};

/* In decoder layers only. */
static const struct rule cross_rules[] = {
    {"cross_attn_ln.weight", "encoder_attn_layer_norm.weight", DEC_CROSS_NORM_GAIN, 0,
     SHAPE_STATE},
    {"cross_attn_ln.bias", "encoder_attn_layer_norm.bias", DEC_CROSS_NORM_BIAS, 0,
     SHAPE_STATE},
    {"cross_attn.query.weight", "encoder_attn.q_proj.weight", DEC_CROSS_Q, 0,
     SHAPE_SQUARE},
    {"cross_attn.query.bias", "encoder_attn.q_proj.bias", DEC_CROSS_Q_BIAS, 0,
     SHAPE_STATE},
    {"cross_attn.key.weight", "encoder_attn.k_proj.weight", DEC_CROSS_KV, 0,
     SHAPE_SQUARE},
    {"cross_attn.value.weight", "encoder_attn.v_proj.weight", DEC_CROSS_KV, 1,
     SHAPE_SQUARE},
    {"cross_attn.value.bias", "encoder_attn.v_proj.bias", DEC_CROSS_KV_BIAS, 1,
     SHAPE_STATE},
    {"cross_attn.out.weight", "encoder_attn.out_proj.weight", DEC_CROSS_OUT, 0,
     SHAPE_SQUARE},
    {"cross_attn.out.bias", "encoder_attn.out_proj.bias", DEC_CROSS_OUT_BIAS, 0,
     SHAPE_STATE},
};

static int check_half(const char *half, int state, int head, int layer, struct err *e)
{
    if (layer < 1 || layer > WHISPER_MAX_LAYERS)
        return err_set(e, ERR_CORRUPT, "the %s has %d layers, which is not 1 to %d", half,
                       layer, WHISPER_MAX_LAYERS);
    if (state < 64 || state > 4096)
        return err_set(e, ERR_CORRUPT, "the %s's width is %d, which is not 64 to 4096",
                       half, state);
    if (head < 1 || head > 64 || state != head * 64)
        return err_set(e, ERR_UNSUPPORTED,
                       "the %s's width is %d with %d heads: a head must be 64 wide", half,
                       state, head);
    return 0;
}

int config_check(struct whisper_config *c, struct err *e)
{
    if (c->n_vocab < 51864 || c->n_vocab > 51866)
        return err_set(e, ERR_UNSUPPORTED,
                       "the vocabulary has %d tokens; Whisper's have 51864 (English), "
                       "51865 or 51866",
                       c->n_vocab);
    if (c->n_mels != 80 && c->n_mels != 128)
        return err_set(e, ERR_UNSUPPORTED,
                       "the model takes %d mel bins; Whisper's take 80 or 128",
                       c->n_mels);
    if (c->n_audio_ctx != WHISPER_WINDOW_FRAMES / 2)
        return err_set(e, ERR_UNSUPPORTED,
                       "the encoder has %d positions; Whisper's has %d (30 seconds)",
                       c->n_audio_ctx, WHISPER_WINDOW_FRAMES / 2);
    if (c->n_text_ctx < 64 || c->n_text_ctx > 1024)
        return err_set(e, ERR_UNSUPPORTED,
                       "the decoder has %d positions, which is not 64 to 1024 (Whisper's "
                       "has 448)",
                       c->n_text_ctx);
    int status =
        check_half("encoder", c->n_audio_state, c->n_audio_head, c->n_audio_layer, e);
    if (!status)
        status =
            check_half("decoder", c->n_text_state, c->n_text_head, c->n_text_layer, e);
    if (!status && c->n_audio_state != c->n_text_state)
        status = err_set(e, ERR_UNSUPPORTED,
                         "the encoder is %d wide and the decoder %d: they must be equal",
                         c->n_audio_state, c->n_text_state);
    c->multilingual = c->n_vocab >= 51865;
    c->n_languages = c->multilingual ? c->n_vocab - 51766 : 0;
    return status;
}

int plan_encoder_slot(int layer, enum encoder_slot slot)
{
    return FIXED_SLOTS + layer * ENC_SLOTS + (int)slot;
}

int plan_decoder_slot(const struct whisper_config *c, int layer, int slot)
{
    return FIXED_SLOTS + c->n_audio_layer * ENC_SLOTS + layer * DEC_SLOTS + slot;
}

static void set_dims(struct model_part *part, const struct whisper_config *c,
                     enum shape shape)
{
    int state = c->n_audio_state;
    int dims[3] = {state, 0, 0};
    switch (shape) {
    case SHAPE_STATE:
    case SHAPE_CONV_BIAS:
        break;
    case SHAPE_STATE4:
        dims[0] = 4 * state;
        break;
    case SHAPE_SQUARE:
        dims[1] = state;
        break;
    case SHAPE_UP:
        dims[0] = 4 * state;
        dims[1] = state;
        break;
    case SHAPE_DOWN:
        dims[1] = 4 * state;
        break;
    case SHAPE_CONV1:
    case SHAPE_CONV2:
        dims[1] = shape == SHAPE_CONV1 ? c->n_mels : state;
        dims[2] = 3;
        break;
    case SHAPE_AUDIO_POSITIONS:
    case SHAPE_TEXT_POSITIONS:
        dims[0] = shape == SHAPE_AUDIO_POSITIONS ? c->n_audio_ctx : c->n_text_ctx;
        dims[1] = state;
        break;
    case SHAPE_TOKENS:
        dims[0] = c->n_vocab;
        dims[1] = state;
        break;
    }
    memcpy(part->dims, dims, sizeof dims);
    part->n_dims = dims[2] ? 3 : dims[1] ? 2 : 1;
    part->conv = dims[2] != 0;
    part->conv_bias = shape == SHAPE_CONV_BIAS;
}

/* Grow the slot so that it holds the part as well. The key's bias is never a part, so the
 * rows between those of query and value stay zero. */
static void extend_slot(struct image_slot *slot, const struct model_part *part,
                        enum shape shape)
{
    int end = part->first_row + part->dims[0];
    bool vector = part->n_dims == 1;
    slot->panels =
        !vector && shape != SHAPE_AUDIO_POSITIONS && shape != SHAPE_TEXT_POSITIONS;
    if (vector) {
        slot->rows = 1;
        slot->cols = end > slot->cols ? end : slot->cols;
    } else {
        slot->rows = end > slot->rows ? end : slot->rows;
        slot->cols = part->dims[1] * (part->conv ? 3 : 1);
    }
}

static void add_rules(struct model_plan *p, const struct rule *rules, size_t n,
                      const char *half, int layer, int first_slot)
{
    for (size_t i = 0; i < n; i++) {
        struct model_part *part = &p->parts[p->n_parts++];
        if (layer < 0) {
            (void)snprintf(part->ggml, sizeof part->ggml, "%s", rules[i].ggml);
            (void)snprintf(part->hf, sizeof part->hf, "%s", rules[i].hf);
        } else {
            (void)snprintf(part->ggml, sizeof part->ggml, "%s.blocks.%d.%s", half, layer,
                           rules[i].ggml);
            (void)snprintf(part->hf, sizeof part->hf, "%s.layers.%d.%s", half, layer,
                           rules[i].hf);
        }
        set_dims(part, &p->config, rules[i].shape);
        part->slot = first_slot + rules[i].slot;
        part->first_row = rules[i].block * p->config.n_audio_state;
        extend_slot(&p->slots[part->slot], part, rules[i].shape);
    }
}

static int compare_ggml(const void *a, const void *b, void *parts)
{
    const struct model_part *p = parts;
    return strcmp(p[*(const int *)a].ggml, p[*(const int *)b].ggml);
}

static int compare_hf(const void *a, const void *b, void *parts)
{
    const struct model_part *p = parts;
    return strcmp(p[*(const int *)a].hf, p[*(const int *)b].hf);
}

static void sort_names(struct model_plan *p)
{
    for (int i = 0; i < p->n_parts; i++)
        p->by_ggml[i] = p->by_hf[i] = i;
    size_t n = (size_t)p->n_parts;
    qsort_r(p->by_ggml, n, sizeof *p->by_ggml, compare_ggml, p->parts);
    qsort_r(p->by_hf, n, sizeof *p->by_hf, compare_hf, p->parts);
}

static void add_layers(struct model_plan *p)
{
    const struct whisper_config *c = &p->config;
    add_rules(p, fixed_rules, ARRAY_LENGTH(fixed_rules), "", -1, 0);
    for (int i = 0; i < c->n_audio_layer; i++)
        add_rules(p, layer_rules, ARRAY_LENGTH(layer_rules), "encoder", i,
                  plan_encoder_slot(i, 0));
    for (int i = 0; i < c->n_text_layer; i++) {
        int first = plan_decoder_slot(c, i, 0);
        add_rules(p, layer_rules, ARRAY_LENGTH(layer_rules), "decoder", i, first);
        add_rules(p, cross_rules, ARRAY_LENGTH(cross_rules), "decoder", i, first);
    }
}

int plan_new(struct model_plan **out, const struct whisper_config *c, struct err *e)
{
    struct model_plan *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory");
    p->config = *c;
    p->n_slots = plan_decoder_slot(c, c->n_text_layer, 0);
    size_t n_parts =
        ARRAY_LENGTH(fixed_rules) + (size_t)c->n_audio_layer * ARRAY_LENGTH(layer_rules) +
        (size_t)c->n_text_layer * (ARRAY_LENGTH(layer_rules) + ARRAY_LENGTH(cross_rules));
    p->slots = mem_array((size_t)p->n_slots, sizeof *p->slots);
    p->parts = mem_array(n_parts, sizeof *p->parts);
    p->by_ggml = mem_array(n_parts, sizeof *p->by_ggml);
    p->by_hf = mem_array(n_parts, sizeof *p->by_hf);
    if (!p->slots || !p->parts || !p->by_ggml || !p->by_hf) {
        plan_free(p);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    add_layers(p);
    sort_names(p);
    *out = p;
    return 0;
}

void plan_free(struct model_plan *p)
{
    if (!p)
        return;
    free(p->slots);
    free(p->parts);
    free(p->by_ggml);
    free(p->by_hf);
    free(p);
}

/* The name comes from a file: it may hold any byte. */
static int compare_name(const char *name, size_t length, const char *other)
{
    size_t other_length = strlen(other);
    int order = memcmp(name, other, length < other_length ? length : other_length);
    if (order || length == other_length)
        return order;
    return length < other_length ? -1 : 1;
}

int plan_find_ggml(const struct model_plan *p, const char *name, size_t length)
{
    int low = 0, high = p->n_parts;
    while (low < high) {
        int middle = (low + high) / 2, part = p->by_ggml[middle];
        int order = compare_name(name, length, p->parts[part].ggml);
        if (order == 0)
            return part;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

int plan_find_hf(const struct model_plan *p, const char *name, size_t length)
{
    int low = 0, high = p->n_parts;
    while (low < high) {
        int middle = (low + high) / 2, part = p->by_hf[middle];
        int order = compare_name(name, length, p->parts[part].hf);
        if (order == 0)
            return part;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

size_t plan_part_elements(const struct model_part *part)
{
    size_t n = 1;
    for (int i = 0; i < part->n_dims; i++)
        n *= (size_t)part->dims[i];
    return n;
}

static bool slot_bytes(const struct image_slot *slot, size_t *out)
{
    size_t rows = (size_t)slot->rows;
    if (slot->panels)
        rows = (rows + WEIGHT_PANEL - 1) / WEIGHT_PANEL * WEIGHT_PANEL;
    if (slot->type == WEIGHT_S8)
        return size_mul(rows, ((size_t)slot->cols + 3) / 4 * 4 + sizeof(float), out);
    size_t size = slot->type == WEIGHT_F16 ? sizeof(uint16_t) : sizeof(float);
    return size_mul(rows, (size_t)slot->cols, out) && size_mul(*out, size, out);
}

size_t plan_scales_at(const struct image_slot *slot)
{
    size_t panels = ((size_t)slot->rows + WEIGHT_PANEL - 1) / WEIGHT_PANEL;
    return panels * weight_panel_bytes(WEIGHT_S8, slot->cols);
}

int plan_layout(struct model_plan *p, size_t start, size_t *end, struct err *e)
{
    size_t at = start;
    for (int i = 0; i < p->n_slots; i++) {
        struct image_slot *slot = &p->slots[i];
        bool fits = size_add(at, IMAGE_ALIGN - 1, &at);
        at = at / IMAGE_ALIGN * IMAGE_ALIGN;
        slot->offset = at;
        fits = fits && slot_bytes(slot, &slot->bytes) && size_add(at, slot->bytes, &at);
        if (!fits)
            return err_set(e, ERR_TOO_LARGE, "the weights are larger than memory can be");
    }
    *end = at;
    return 0;
}
