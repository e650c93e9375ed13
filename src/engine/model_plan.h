/* Which tensors a model of given dimensions has, what files call them, and where each
 * lies in the packed image.
 *
 * A "part" is one tensor of a file; a "slot" is one tensor of the image. Several parts
 * may fill one slot: query, key and value become one matrix. Everything follows from the
 * dimensions, so that a reader only has to look names up, and an image only has to say
 * which of its slots are f16. */
#ifndef ENGINE_MODEL_PLAN_H
#define ENGINE_MODEL_PLAN_H

#include "engine/model.h"

#define MEL_FILTER_BINS 201 /* bins of a spectrum of 400 samples */

/* Slots: first these, then ENC_SLOTS for every encoder layer, then DEC_SLOTS for every
 * decoder layer. */
enum fixed_slot {
    SLOT_CONV1,
    SLOT_CONV1_BIAS,
    SLOT_CONV2,
    SLOT_CONV2_BIAS,
    SLOT_AUDIO_POSITIONS,
    SLOT_AUDIO_NORM_GAIN,
    SLOT_AUDIO_NORM_BIAS,
    SLOT_TOKENS,
    SLOT_TEXT_POSITIONS,
    SLOT_TEXT_NORM_GAIN,
    SLOT_TEXT_NORM_BIAS,
    FIXED_SLOTS
};

enum encoder_slot {
    ENC_ATTN_NORM_GAIN,
    ENC_ATTN_NORM_BIAS,
    ENC_MLP_NORM_GAIN,
    ENC_MLP_NORM_BIAS,
    ENC_QKV,
    ENC_QKV_BIAS,
    ENC_OUT,
    ENC_OUT_BIAS,
    ENC_UP,
    ENC_UP_BIAS,
    ENC_DOWN,
    ENC_DOWN_BIAS,
    ENC_SLOTS
};

/* The first ENC_SLOTS of a decoder layer are those of an encoder layer. */
enum decoder_slot {
    DEC_CROSS_NORM_GAIN = ENC_SLOTS,
    DEC_CROSS_NORM_BIAS,
    DEC_CROSS_Q,
    DEC_CROSS_Q_BIAS,
    DEC_CROSS_KV,
    DEC_CROSS_KV_BIAS,
    DEC_CROSS_OUT,
    DEC_CROSS_OUT_BIAS,
    DEC_SLOTS
};

struct image_slot {
    int rows, cols;        /* a vector has one row */
    bool panels;           /* a linear weight; otherwise f32, row after row */
    enum weight_type type; /* f32 unless every part is f16, or it is to be 8 bits */
    size_t offset, bytes;  /* in the image; set by plan_layout */
};

struct model_part {
    char ggml[56]; /* name in a ggml file */
    char hf[72];   /* name in a Hugging Face file */
    int dims[3];   /* shape, outermost first, as in PyTorch */
    int n_dims;
    int slot;       /* index */
    int first_row;  /* of the slot (first element, when the slot is a vector) */
    bool conv;      /* [out][in][3] */
    bool conv_bias; /* ggml writes it as [n][1] */
};

struct model_plan {
    struct whisper_config config;
    struct image_slot *slots; /* owned [n_slots] */
    struct model_part *parts; /* owned [n_parts] */
    int *by_ggml, *by_hf;     /* owned [n_parts]: part indices, sorted by name */
    int n_slots, n_parts;
};

/* Whether the dimensions are those of a Whisper model that this engine can run; sets
 * `multilingual` and `n_languages` from n_vocab. ERR_CORRUPT or ERR_UNSUPPORTED. */
int config_check(struct whisper_config *c, struct err *e);

/* The config must have been checked. */
int plan_new(struct model_plan **out, const struct whisper_config *c, struct err *e);
void plan_free(struct model_plan *p);

/* Index of the part of that name (not NUL-terminated), or -1. */
int plan_find_ggml(const struct model_plan *p, const char *name, size_t length);
int plan_find_hf(const struct model_plan *p, const char *name, size_t length);

int plan_encoder_slot(int layer, enum encoder_slot slot);
int plan_decoder_slot(const struct whisper_config *c, int layer, int slot);

/* Elements of a part. */
size_t plan_part_elements(const struct model_part *part);

/* Where in a slot of 8 bits its scales begin. */
size_t plan_scales_at(const struct image_slot *slot);

/* Lay the slots out from byte `start`, each on a boundary of 64 bytes, by their types.
 * *end is the byte after the last. ERR_TOO_LARGE when that overflows. */
int plan_layout(struct model_plan *p, size_t start, size_t *end, struct err *e);

#endif
