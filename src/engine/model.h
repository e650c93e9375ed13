/* Weights: read from a file, checked, packed once, shared by every worker of a machine.
 *
 * The packed image is one position-independent block (a sealed memfd, or a file): header,
 * vocabulary, mel filters, tensors on 64-byte boundaries. Linear weights lie in panels of
 * 16 output rows, which both AVX2 (2 registers) and AVX-512 (1 register) read in order:
 *
 *     element (row r, column k) of a [rows][cols] matrix is at
 *     data[(r / 16) * cols * 16 + k * 16 + r % 16],   rows padded with zeros to 16.
 *
 * A convolution [out][in][3] becomes a linear matrix [out][3 * in] whose column is
 * tap * in + channel, so that an input window of 3 frames, channels innermost, is a row.
 * Elements stay what the file held when that is f16, and become f32 otherwise (bf16,
 * f32 and every quantised type), so nothing is lost. Or they become 8 bits, all but those
 * of the convolutions: each row is whole numbers of -127 … 127 times a scale of its own,
 * stored with 128 added, 4 columns side by side (kernels.h), at
 *
 *     data[(r / 16) * cols4 * 16 + (k / 4) * 64 + r % 16 * 4 + k % 4],
 *
 * where cols4 is cols, up to a multiple of 4; the scales lie behind the panels. */
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include "engine/whisper.h"

#define WEIGHT_PANEL            16
#define WHISPER_MAX_LAYERS      64

#define WHISPER_MAX_ALIGN_HEADS 64

struct whisper_config {
    int n_vocab;     /* 51864 .en, 51865, 51866 for large-v3 */
    int n_audio_ctx; /* 1500 */
    int n_audio_state, n_audio_head, n_audio_layer;
    int n_text_ctx; /* 448 */
    int n_text_state, n_text_head, n_text_layer;
    int n_mels;        /* 80 or 128 */
    bool multilingual; /* n_vocab >= 51865 */
    int n_languages;   /* 0 when not multilingual, 99, 100 for large-v3 */
    /* Layer and head of the cross-attention that follows the speech, ascending, where the
     * model's files tell them; 0 of them where they do not. */
    int n_align_heads;
    uint8_t align_heads[WHISPER_MAX_ALIGN_HEADS][2];
};

/* WEIGHT_S16 is of keys and values alone (kvcache.h). */
enum weight_type { WEIGHT_F32, WEIGHT_F16, WEIGHT_S8, WEIGHT_S16 };

/* A linear layer y = x Wᵀ + b in panel layout. Pointers are borrowed from the image. */
struct weight {
    const void *data;    /* panels, float, uint16_t (IEEE half) or uint8_t */
    const float *scales; /* [rows, up to whole panels] of 8 bits; else NULL */
    const float *bias;   /* [rows], or NULL: none */
    enum weight_type type;
    bool fine;      /* of 8 bits: its inputs take 16 */
    int rows, cols; /* outputs, inputs */
};

struct layer_norm {
    const float *gain, *bias; /* [state] */
};

/* One pre-norm transformer block. Query, key and value are one matrix, in this order
 * (the key's part of the bias is zero); likewise the cross-attention's key and value. */
struct encoder_layer {
    struct layer_norm attn_norm, mlp_norm;
    struct weight attn_qkv; /* [3*state][state] */
    struct weight attn_out; /* [state][state] */
    struct weight mlp_up;   /* [4*state][state] */
    struct weight mlp_down; /* [state][4*state] */
};

struct decoder_layer {
    struct layer_norm attn_norm, cross_norm, mlp_norm;
    struct weight attn_qkv, attn_out;
    struct weight cross_q;  /* [state][state] */
    struct weight cross_kv; /* [2*state][audio state] */
    struct weight cross_out;
    struct weight mlp_up, mlp_down;
};

struct whisper_model {
    struct whisper_config config;
    char weights_name[16]; /* what the file held: "f16", "q5_1" … */

    struct weight conv1, conv2;   /* [state][3*n_mels], [state][3*state] */
    const float *audio_positions; /* [n_audio_ctx][audio state] */
    struct layer_norm audio_norm;
    struct encoder_layer *encoder; /* owned [n_audio_layer] */

    struct weight token_embedding; /* [n_vocab][text state], also the last layer */
    const float *text_positions;   /* [n_text_ctx][text state] */
    struct layer_norm text_norm;
    struct decoder_layer *decoder; /* owned [n_text_layer] */

    const float *mel_filters; /* [n_mels][201] */

    /* Raw bytes of every token: token i is vocab_bytes[vocab_offsets[i] …
     * vocab_offsets[i + 1]). Special tokens may be empty. [n_vocab + 1] */
    const uint32_t *vocab_offsets;
    const uint8_t *vocab_bytes;

    const void *image; /* owned mapping */
    size_t image_bytes;
    int image_fd; /* owned */
};

/* Bytes from panel to panel. */
size_t weight_panel_bytes(enum weight_type type, int cols);

/* Where a panel of 16 outputs begins. */
static inline const void *weight_panel(const struct weight *w, int panel)
{
    return (const char *)w->data + (size_t)panel * weight_panel_bytes(w->type, w->cols);
}

/* One element of a weight, as f32 (tests, embedding look-up). */
float weight_at(const struct weight *w, int row, int column);

#endif
