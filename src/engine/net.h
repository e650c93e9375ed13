/* The inside of struct net, for the files that compute: net.c, linear.c, attention.c,
 * encoder.c, decoder.c. Everybody else uses session.h. */
#ifndef ENGINE_NET_H
#define ENGINE_NET_H

#include "engine/kernels/kernels.h"
#include "engine/kvcache.h"
#include "engine/session.h"
#include "engine/threads.h"

/* Rows that are the input of a matrix product lie this many floats further apart than
 * they are long: lengths are multiples of large powers of two, and without it the rows of
 * a tile would fall into the same few sets of the first cache. */
#define ROW_PAD 16

/* Queries that one attention task takes at a time: their scores stay in the cache. */
#define ATTENTION_ROWS 24

struct slot {
    int window; /* whose cross-attention cache it looks at */
    int length; /* tokens in it */
};

struct net {
    const struct whisper_model *model; /* borrowed */
    const struct kernels *kernels;     /* static */
    struct pool *pool;                 /* owned */
    int threads;
    int max_windows, max_slots;
    int max_rows;                /* decoder rows of one pass */
    enum weight_type self_type;  /* of self */
    enum weight_type cross_type; /* of cross */
    enum weight_type audio_type; /* of audio */

    void *memory; /* owned mapping: all that follows */
    size_t memory_bytes;
    size_t self_at; /* where self begins in it, the last */

    float *mel;  /* [3000 + 2][n_mels], a zero row at both ends */
    float *x;    /* residual stream [rows][state] */
    float *norm; /* of the decoder [max_rows][state + ROW_PAD] */
    float *wide; /* of the encoder [n_audio_ctx][2 * state + ROW_PAD], queries and values;
                  * of the decoder [max_rows][4 * state + ROW_PAD] */
    struct kv
        audio; /* keys and values of the encoder layer at work; whole numbers or f32 */
    struct kv *cross;   /* [windows][text layers], capacity n_audio_ctx */
    struct kv *self;    /* [slots][text layers], capacity n_text_ctx */
    struct slot *slots; /* [slots] */
    struct pass *pass;  /* decoder.c: rows of the pass at work */

    /* Input rows of a decoder's layer whose weights have 8 bits (kernels.h: quantise). */
    uint8_t *codes;     /* [max_rows][linear_code_bytes] */
    float *code_scales; /* [max_rows] */
    int32_t *code_sums; /* [max_rows] */

    float *value_most;     /* [threads][state]: the greatest values that each has seen */
    float *value_inverses; /* [state]: ATTEND_VALUES by the greatest of all */

    /* One per thread. */
    float *blocks; /* [threads][block_floats]: rows.h */
    size_t block_floats, block_state;
    float *strips; /* [threads][strip_floats]: widened weights */
    float *scores; /* [threads][ATTENTION_ROWS][score_stride] */
    char *shares;  /* [threads][ATTENTION_ROWS][share_stride]: scores in 16 bits */
    size_t strip_floats, score_stride, share_stride;
    float *ones; /* [widest state]: scales of what has none */

    bool (*stop)(void *arg); /* see net_set_stop */
    void *stop_arg;          /* borrowed */
    net_probe_fn probe;
    void *probe_arg;                   /* borrowed */
    const struct net_capture *capture; /* borrowed or NULL */
};

/* Scratch of thread `index`. */
float *net_strip(const struct net *n, int index);
float *net_scores(const struct net *n, int index);
char *net_shares(const struct net *n, int index);

/* What decoder.c keeps per pass: bytes for these many inputs and rows, for net_open. */
size_t decoder_pass_bytes(int max_slots, int max_rows);
void decoder_pass_init(struct net *n);

#endif
