/* Everything that one transcription needs beside the weights: threads, scratch, caches.
 *
 * Sized when it is opened: nothing is allocated while it decodes. A batch of windows is
 * the natural unit: the encoder takes several at once, and the decoder steps any set of
 * sequences, each of which belongs to one window and owns one self-attention cache
 * ("slot"). */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "engine/mel.h"
#include "engine/model.h"
#include "engine/speech.h"
#include "engine/timeline.h"
#include "engine/tokenizer.h"

struct net; /* threads, kernels, scratch, cross- and self-attention caches */

struct net_options {
    int threads;      /* 0: decide */
    int max_windows;  /* windows encoded and decoded together */
    int max_slots;    /* sequences alive at once */
    bool wide_caches; /* the decoder's keys and values as f32, not f16: twice the memory;
                       * logits are nearer to exact by some 1e-4 of their size */
    bool short_attention; /* the encoder's attention in whole numbers of 16 bits; what
                           * the decoder hears, in bytes */
};

int net_open(struct net **out, const struct whisper_model *m,
             const struct net_options *options, struct err *e);
void net_close(struct net *n);
/* How large net_open's mapping would be: `whole`, of which `caches` are the sequences'
 * own, most of which is never touched. The errors are net_open's. */
int net_bytes(const struct whisper_config *c, const struct net_options *options,
              size_t *whole, size_t *caches, struct err *e);
struct pool *net_pool(struct net *n);

/* Encode `count` windows, mel[i] is [3000][n_mels], and fill the cross-attention caches
 * of windows first … first + count - 1. */
void net_encode(struct net *n, int first, const float *const *mel, int count);
/* From now on encoding is given up when `stop` (NULL: never) says so, between two blocks:
 * what was encoded is then worthless. */
void net_set_stop(struct net *n, bool (*stop)(void *arg), void *arg);
/* The encoder's output of the window that was encoded last, [n_audio_ctx][audio state],
 * after ln_post; valid until anything else is computed. For tests. */
const float *net_encoded(const struct net *n);

/* For tests and goldens: called after the stem (layer -1), each encoder block (0 …) and
 * the last norm (n_audio_layer), with x [n_audio_ctx][state] of window 0. */
typedef void (*net_probe_fn)(void *arg, int layer, const float *x, int rows, int cols);
void net_set_probe(struct net *n, net_probe_fn probe, void *arg);

/* A slot is a sequence's self-attention cache. */
void net_slot_begin(struct net *n, int slot, int window); /* empty it */
/* Fork a sequence: `to` becomes like `from`. The first `same` positions are alike
 * already, and not copied. */
void net_slot_copy(struct net *n, int to, int from, int same);
int net_slot_length(const struct net *n, int slot); /* tokens in it */
void net_slot_truncate(struct net *n, int slot, int length);

/* Append tokens to a slot. */
struct net_input {
    int slot;
    const int32_t *tokens; /* borrowed [n_tokens] */
    int n_tokens;          /* length + n_tokens must not exceed n_text_ctx */
    int logits_from;       /* logits are wanted for tokens[logits_from …]; most often
                              n_tokens - 1: only the last */
};

/* One decoder step for all inputs at once. `logits` receives [n_vocab] floats for every
 * wanted token, inputs in order. ERR_INVALID when a slot would overflow. */
int net_decode(struct net *n, const struct net_input *inputs, int count, float *logits,
               struct err *e);

/* Logits [count][n_vocab] of tokens first … first + count - 1 of the last net_decode,
 * which had one input. For those who want many, but not all at once. */
void net_logits(struct net *n, int first, int count, float *logits);

/* ---- where the decoder looks ---- */

struct net_head {
    int layer, head;
};

/* The softmax probabilities of cross-attention, as net_decode comes by them. */
struct net_capture {
    const struct net_head *heads; /* borrowed [n_heads], ascending by layer, then head */
    int n_heads;
    int columns; /* audio positions that are wanted, from the first */
    float *out;  /* [the most heads of one layer][rows of the call][columns] */
    /* Called when those of one layer are in `out`: heads[first] … [first + count - 1]. */
    void (*layer)(void *arg, int first, int count, int rows);
    void *arg; /* borrowed */
};

/* Capture in every net_decode, which must have one input only; NULL: no more. Borrowed
 * until then. Costs nothing when it is not used. */
void net_set_capture(struct net *n, const struct net_capture *capture);

struct align;  /* engine/align.h */
struct search; /* engine/search.h */

/* What longform.c drives. */
struct whisper_session {
    const struct whisper_model *model; /* borrowed */
    bool beside;                       /* net, tokenizer and search are another's */
    struct net *net;                   /* owned */
    struct mel *mel;                   /* owned */
    struct tokenizer *tokenizer;       /* owned */
    struct search *search;             /* owned */
    struct align *align;               /* owned; NULL until words are wanted */
    const struct vad *vad;             /* borrowed or NULL */
    struct speech speech;              /* of the recording at hand */
    struct timeline timeline;          /* what of it is heard */
    struct mel_piece *mel_pieces;      /* owned [3000]: of the window at hand */
    int max_windows;                   /* decoded together, at most */
    float *features;                   /* owned [3000][n_mels]: of the window at hand */
    int32_t *prompts;                  /* owned [max_windows][n_text_ctx] */
};

#endif
