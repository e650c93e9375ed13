/* Whisper: audio samples in, segments out.
 *
 * The public face of the engine. Three objects: a model (weights, read-only, shared by
 * every thread and process of a machine), a session (all scratch memory for one
 * transcription at a time) and a result. The algorithm is that of "Robust Speech
 * Recognition via Large-Scale Weak Supervision" (Radford et al., 2022) and of its
 * reference implementation; parameter names are those that users of the reference and of
 * faster-whisper know. */
#ifndef ENGINE_WHISPER_H
#define ENGINE_WHISPER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHISPER_SAMPLE_RATE       16000
#define WHISPER_FRAMES_PER_SECOND 100 /* mel frames, 160 samples each */
#define WHISPER_WINDOW_FRAMES     3000
#define WHISPER_MAX_TEMPERATURES  8
#define WHISPER_MAX_BEST_OF       5

enum whisper_task { WHISPER_TRANSCRIBE, WHISPER_TRANSLATE };

struct whisper_model;   /* opaque: engine/model.h */
struct whisper_session; /* opaque: engine/session.h */

/* ---- model ---------------------------------------------------------------------- */

/* What a person wants to know of a model. */
struct whisper_model_info {
    char type[32];    /* "tiny", "base.en", "large-v3" …, judged by its dimensions */
    char weights[16]; /* "f16", "q5_1" …: what the file held */
    bool multilingual;
    int n_mels, n_languages, n_vocabulary;
    int n_audio_layers, n_audio_state, n_text_layers, n_text_state;
    size_t image_bytes; /* memory that the weights take, once per machine */
};

/* Load a ggml file, or a folder with config.json, tokenizer.json and safetensors, check
 * it whole, and pack it for the kernels. ERR_CORRUPT, ERR_UNSUPPORTED or ERR_NOT_FOUND
 * with a sentence that names what is wrong. *out is owned by the caller. */
int whisper_model_load(struct whisper_model **out, const char *path, struct err *e);

/* The packed weights as a sealed memfd that a child process may inherit (borrowed; it is
 * close-on-exec, so dup2 it in the child), and the way back: map what a parent packed.
 * The memory is shared, not copied. `fd` is not kept. */
int whisper_model_image_fd(const struct whisper_model *m);
int whisper_model_attach(struct whisper_model **out, int fd, struct err *e);

void whisper_model_free(struct whisper_model *m);
void whisper_model_describe(const struct whisper_model *m,
                            struct whisper_model_info *out);

/* ---- languages ------------------------------------------------------------------ */

/* Accepts an ISO 639-1 code (also "yue", "haw", "jw"), an English name or one of the
 * reference's aliases, in any case. Returns its index in the reference's order (0:
 * English), or -1 when unknown. */
int whisper_language_find(const char *name);
int whisper_language_count(void);
const char *whisper_language_code(int index); /* "en"; NULL out of range */
const char *whisper_language_name(int index); /* "english", lower case */

/* ---- transcription -------------------------------------------------------------- */

struct whisper_params {
    const char *language; /* borrowed; NULL or "auto": detect */
    enum whisper_task task;
    float temperatures[WHISPER_MAX_TEMPERATURES]; /* tried in turn */
    int n_temperatures;
    int best_of; /* 1 … WHISPER_MAX_BEST_OF: sequences drawn side
                    by side at temperatures above 0 */
    /* A threshold that is NaN is off, as None is in the reference. */
    float compression_ratio_threshold; /* above: decode again; 0 or less: off */
    float log_prob_threshold;          /* average below: decode again */
    float no_speech_threshold;         /* above, and log_prob below: silence */
    bool condition_on_previous_text;
    const char *initial_prompt; /* borrowed; NULL: none */
    bool without_timestamps;
    float max_initial_timestamp; /* seconds; 0: any */
    bool suppress_blank;
    bool suppress_non_speech; /* the reference's suppress_tokens = -1 */
    uint64_t seed;            /* for temperatures above 0 */
    /* Go on with a recording that was begun: the frame that the last finished window
     * reported. The language found then belongs into `language`, and the segments made
     * until then into the result: the text comes out as if there had been no break. */
    int64_t start_frame;
};

/* The reference's defaults, with condition_on_previous_text off. */
void whisper_params_init(struct whisper_params *p);

struct whisper_segment {
    int id;             /* 0, 1, 2 … in the recording */
    int64_t seek_frame; /* where its window began, in mel frames */
    double start_seconds, end_seconds;
    char *text;      /* owned, UTF-8 (damaged sequences replaced by U+FFFD) */
    int32_t *tokens; /* owned [n_tokens], timestamps included as in the reference */
    size_t n_tokens;
    float temperature, avg_logprob, compression_ratio, no_speech_prob;
};

struct whisper_result {
    struct whisper_segment *segments; /* owned [n_segments] */
    size_t n_segments, capacity;
    int language;               /* index; -1: not known, for nothing was heard */
    float language_probability; /* 1 when it was given */
    double duration_seconds;    /* of the audio */
};

void whisper_result_init(struct whisper_result *r);
void whisper_result_release(struct whisper_result *r);

/* All may be NULL. Called on the thread that called whisper_transcribe. */
struct whisper_callbacks {
    void *arg;
    /* Asked at least once per window and every few decoder steps; true stops the work
     * with ERR_CANCELLED. */
    bool (*cancelled)(void *arg);
    void (*language)(void *arg, int language, float probability);
    /* A segment is final. It is borrowed for the call. */
    void (*segment)(void *arg, const struct whisper_segment *segment);
    /* A window is done: everything before next_frame is transcribed. A checkpoint. */
    void (*window)(void *arg, int64_t next_frame, int64_t total_frames);
};

struct whisper_session_options {
    int threads; /* 0: as many as the process may use (affinity, cgroup) */
};

/* The model is borrowed and must outlive the session. */
int whisper_session_open(struct whisper_session **out, const struct whisper_model *m,
                         const struct whisper_session_options *options, struct err *e);
void whisper_session_close(struct whisper_session *s);

/* Transcribe `n_samples` mono samples at 16 kHz in [-1, 1] (NaN and infinities are taken
 * as 0), of any length. `r` is initialised by the caller; segments are appended to it,
 * and their ids go on from those that are there. Not re-entrant per session. */
int whisper_transcribe(struct whisper_session *s, const float *samples, size_t n_samples,
                       const struct whisper_params *p, const struct whisper_callbacks *c,
                       struct whisper_result *r, struct err *e);

/* Language of the first 30 s: *language and the probability of every language
 * [whisper_language_count()] (0 for those that the model does not know). ERR_UNSUPPORTED
 * for a model that knows only English. */
int whisper_detect_language(struct whisper_session *s, const float *samples,
                            size_t n_samples, int *language, float *probabilities,
                            struct err *e);

#endif
