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
#define WHISPER_MAX_SEQUENCES     8  /* of one window side by side: beams, samples */
#define WHISPER_MAX_BATCH         16 /* windows decoded together */
#define WHISPER_DEFAULT_BATCH     4  /* where nobody says how many */
#define WHISPER_MAX_CLIPS         256

enum whisper_task { WHISPER_TRANSCRIBE, WHISPER_TRANSLATE };

/* How the weights are kept. In 8 bits a processor computes several times as fast, and
 * reads half as much; docs/accuracy.md says what it costs. */
enum whisper_weights {
    WHISPER_WEIGHTS_AS_GIVEN, /* nothing is lost */
    WHISPER_WEIGHTS_8_BITS,
    WHISPER_WEIGHTS_FASTEST, /* one of the two, as this processor has it */
};

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
 * with a sentence that names what is wrong. What was packed is kept on disk beside it
 * for the next time, where that can be (model_cache.h). *out is owned by the caller. */
int whisper_model_load(struct whisper_model **out, const char *path,
                       enum whisper_weights weights, struct err *e);

/* The packed weights as a descriptor that a child process may inherit (borrowed; it is
 * close-on-exec, so dup2 it in the child), of a sealed memfd or of the file beside the
 * model, and the way back: map what a parent packed.
 * The memory is shared, not copied. `fd` is not kept. */
int whisper_model_image_fd(const struct whisper_model *m);
int whisper_model_attach(struct whisper_model **out, int fd, struct err *e);

/* What a model takes when it is at work: its packed weights, once for all processes, and
 * what each process that transcribes with it needs beside them. From its dimensions: of
 * the file only the first bytes are read. */
struct whisper_memory {
    uint64_t weights, session; /* bytes */
};
struct whisper_session_options;
int whisper_memory_needed(const char *path, const struct whisper_session_options *options,
                          struct whisper_memory *out, struct err *e);

void whisper_model_free(struct whisper_model *m);
void whisper_model_describe(const struct whisper_model *m,
                            struct whisper_model_info *out);

/* ---- languages ------------------------------------------------------------------ */

/* Accepts an ISO 639-1 code (also "yue", "haw", "jw"), with or without a region
 * ("pt-BR"), an English name or one of the reference's aliases, in any case. Returns its
 * index in the reference's order (0: English), or -1 when unknown. */
int whisper_language_find(const char *name);
int whisper_language_count(void);
const char *whisper_language_code(int index); /* "en"; NULL out of range */
const char *whisper_language_name(int index); /* "english", lower case */

/* ---- transcription -------------------------------------------------------------- */

/* Two ways through a long recording. */
enum whisper_mode {
    WHISPER_MODE_DEFAULT,    /* whichever of the two measures best */
    WHISPER_MODE_SEQUENTIAL, /* the reference's: each window begins where the last
                              * finished segment ended */
    WHISPER_MODE_BATCHED,    /* speech is packed into windows cut at pauses, which are
                              * decoded side by side */
};

/* When is something speech? Names, meanings and defaults are those of faster-whisper's
 * vad_parameters; docs/accuracy.md says where a default differs and why. */
struct whisper_vad_options {
    float threshold;     /* of the probability; default 0.5 */
    float neg_threshold; /* below: speech has ended; NaN: threshold - 0.15 */
    int min_speech_duration_ms;
    float max_speech_duration_s; /* longer spans are cut at their best pause; inf: not */
    int min_silence_duration_ms; /* a shorter pause does not end a span */
    int speech_pad_ms;           /* kept on both sides of speech */
};

/* A part of the recording to transcribe, in seconds; the end may be infinite. */
struct whisper_clip {
    double start_seconds, end_seconds;
};

/* Every parameter, its default and the reason for it: docs/accuracy.md. */
struct whisper_params {
    const char *language; /* borrowed; NULL or "auto": detect */
    enum whisper_task task;

    /* ---- decoding ---- */
    int beam_size;        /* 1 … WHISPER_MAX_SEQUENCES, at temperature 0; 1: greedy */
    float patience;       /* stop when round(beam_size * patience) sequences have ended */
    float length_penalty; /* the sum of log probabilities is divided by length to this
                             power to rank sequences; 1: by the mean */
    int best_of;          /* 1 … WHISPER_MAX_SEQUENCES: sequences drawn side by side at
                             temperatures above 0 */
    float temperatures[WHISPER_MAX_TEMPERATURES]; /* tried in turn */
    int n_temperatures;
    float repetition_penalty; /* logits of tokens already said are divided (positive) or
                                 multiplied (negative) by it; 1: off */
    int no_repeat_ngram_size; /* no n tokens come twice in a window; 0: off */
    int max_new_tokens;       /* of a window; 0: half the decoder's context */
    uint64_t seed;            /* for temperatures above 0 */

    /* A threshold that is NaN is off, as None is in the reference. */
    float compression_ratio_threshold; /* above: decode again; 0 or less: off */
    float log_prob_threshold;          /* average below: decode again */
    float no_speech_threshold;         /* above, and log_prob below: silence */

    bool suppress_blank;
    bool suppress_non_speech;       /* the reference's suppress_tokens = -1 */
    const int32_t *suppress_tokens; /* borrowed [n_suppress_tokens]: these too */
    size_t n_suppress_tokens;
    bool without_timestamps; /* the model writes no times; segments are whole windows */
    float max_initial_timestamp; /* seconds; 0: any */

    /* ---- what the model is told ---- */
    const char *initial_prompt; /* borrowed; NULL: none */
    const char *prefix;   /* borrowed; NULL: none; the first window begins with it */
    const char *hotwords; /* borrowed; NULL: none; told before every window */
    bool condition_on_previous_text;
    bool context_pass; /* windows that are heard side by side are heard once more, with
                          what was said before, and the more probable text stays */
    float prompt_reset_on_temperature; /* above: what was said is told no more */

    /* ---- the way through the recording ---- */
    enum whisper_mode mode;
    int batch_size;  /* windows side by side, 1 … WHISPER_MAX_BATCH; 0: decide */
    bool vad_filter; /* only what the voice detector finds is heard; on by default */
    struct whisper_vad_options vad;
    const struct whisper_clip *clips; /* borrowed [n_clips], ascending, disjoint; none:
                                         all of the recording */
    size_t n_clips;

    /* ---- language ---- */
    bool multilingual; /* each window has a language of its own; else only where the
                          windows that vote are sure of several */
    int language_detection_segments;    /* windows that vote, at most */
    float language_detection_threshold; /* a window that is so sure decides alone */

    /* ---- words ---- */
    bool word_timestamps;
    const char *prepend_punctuations; /* borrowed; belongs to the word behind it */
    const char *append_punctuations;  /* borrowed; belongs to the word before it */

    bool token_logprobs; /* segments tell how sure each of their tokens is */

    /* Go on with a recording that was begun: the frame that the last finished window
     * reported. The language found then belongs into `known_language`, and the segments
     * made until then into the result: the text comes out as if there
     * had been no break. A known language stands where it is to be detected; windows vote
     * on nothing but whether there are others, and not on that if `multilingual` is on.
     */
    int64_t start_frame;
    const char *known_language; /* borrowed; NULL: none */
    /* And windows behind that frame which were done already, as the callback `ahead` told
     * of them; they are not heard again. What fits no window, or is damaged, is heard. */
    const struct whisper_ahead *ahead; /* borrowed [n_ahead] */
    size_t n_ahead;
};

struct whisper_ahead {
    const void *bytes; /* borrowed [length] */
    size_t length;
};

/* The reference's defaults, with condition_on_previous_text off. */
void whisper_params_init(struct whisper_params *p);

struct whisper_word {
    char *text; /* owned, UTF-8, with its leading space and the punctuation around it */
    double start_seconds, end_seconds;
    float probability; /* mean of its tokens' */
};

struct whisper_segment {
    int id;             /* 0, 1, 2 … in the recording */
    int64_t seek_frame; /* where its window began, in mel frames */
    double start_seconds, end_seconds;
    char *text;      /* owned, UTF-8 (damaged sequences replaced by U+FFFD) */
    int32_t *tokens; /* owned [n_tokens], timestamps included as in the reference */
    float *logprobs; /* owned [n_tokens]: natural, of each among those that were allowed;
                        NULL unless token_logprobs */
    size_t n_tokens;
    float temperature, avg_logprob, compression_ratio, no_speech_prob;
    int language;               /* index; that of its window */
    struct whisper_word *words; /* owned [n_words]; NULL unless word_timestamps */
    size_t n_words;
};

/* ---- the quality report ---------------------------------------------------------- */

enum whisper_note_kind {
    WHISPER_NOTE_NON_SPEECH,     /* dropped: the voice detector found nothing in it */
    WHISPER_NOTE_NO_SPEECH,      /* dropped: the model itself said that nobody speaks */
    WHISPER_NOTE_HALLUCINATION,  /* dropped: text where there cannot be any */
    WHISPER_NOTE_LOOP,           /* a repetition or an impossible rate was mended */
    WHISPER_NOTE_HEARD_AGAIN,    /* speech without text was heard a second time */
    WHISPER_NOTE_NO_TEXT,        /* speech for which no text was found */
    WHISPER_NOTE_LOW_CONFIDENCE, /* text that is there, but unsure */
    WHISPER_NOTE_KINDS
};

/* What was done about a loop. */
enum whisper_remedy {
    WHISPER_REMEDY_NONE,
    WHISPER_REMEDY_RESAMPLED, /* decoded again at another temperature */
    WHISPER_REMEDY_SPLIT,     /* heard again in shorter pieces */
    WHISPER_REMEDY_CUT,       /* the repetition was taken out */
};

/* What the reader of a transcript should know of a part of it. */
struct whisper_note {
    enum whisper_note_kind kind;
    double start_seconds, end_seconds;
    enum whisper_remedy remedy; /* of a LOOP */
    float value; /* NO_SPEECH: its probability; LOW_CONFIDENCE: the mean log probability;
                    LOOP: how often it was said; else 0 */
    char *text;  /* owned or NULL: of HALLUCINATION and LOOP, what was taken out */
};

struct whisper_vote { /* what one window says the language is */
    double start_seconds, end_seconds;
    int language;
    float probability;
};

enum whisper_detector {
    WHISPER_DETECTOR_OFF,
    WHISPER_DETECTOR_SILERO,
    WHISPER_DETECTOR_ENERGY
};

/* Notes are in the order of their windows. All else describes the whole recording, after
 * a break too. */
/* What the parts of a transcription took, in seconds. A step of the decoder that served
 * several windows counts for each in equal shares, whosever they were. */
struct whisper_times {
    double mel, vad, encoder, decoder, align;
};

struct whisper_report {
    double audio_seconds;
    double speech_seconds;        /* by the detector; all of it when that is off */
    double text_seconds;          /* that segments cover */
    float peak_dbfs, speech_dbfs; /* greatest; mean of what is speech; -inf: silence */
    float clipped_share;          /* of the samples, in runs at full scale */
    enum whisper_detector detector;
    struct whisper_note *notes; /* owned [n_notes] */
    size_t n_notes, notes_capacity;
    struct whisper_vote *votes; /* owned [n_votes] */
    size_t n_votes, votes_capacity;
    struct whisper_times times; /* also of a transcription that failed */
};

struct whisper_result {
    struct whisper_segment *segments; /* owned [n_segments] */
    size_t n_segments, capacity;
    int language;               /* index; -1: not known, for nothing was heard */
    float language_probability; /* 1 when it was given or known */
    bool multilingual;          /* each window was heard in a language of its own: it was
                                   asked for, or those that voted were sure of several */
    double duration_seconds;    /* of the audio */
    struct whisper_report report;
};

/* Free what a segment owns; it is zero then. */
void whisper_segment_release(struct whisper_segment *s);

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
    /* A note was added to the report; borrowed for the call. */
    void (*note)(void *arg, const struct whisper_note *note);
    /* A window is done while one before it is not: what is known of it, for
     * whisper_params.ahead, should the recording be broken off. It is of no use any more
     * when `window` has come to next_frame. Bytes of no meaning outside the engine,
     * borrowed for the call; at most 1 MiB. */
    void (*ahead)(void *arg, int64_t next_frame, const void *bytes, size_t length);
};

struct vad; /* the voice detector's weights: engine/vad.h */

struct whisper_session_options {
    int threads;           /* 0: as many as the process may use (affinity, cgroup) */
    int max_batch;         /* the most that batch_size may ask for; 0: the default */
    bool exact;            /* COMPUTE_TYPE=f32: everything in f32 */
    const struct vad *vad; /* borrowed; NULL: speech is told by level alone */
    /* Share that session's threads, scratch and decoder: what both transcribe at the same
     * time is decoded together, and the options above but `vad` are that one's. Borrowed,
     * of the same model, and must outlive this one; NULL: none. */
    struct whisper_session *beside;
};

/* The model is borrowed and must outlive the session. */
int whisper_session_open(struct whisper_session **out, const struct whisper_model *m,
                         const struct whisper_session_options *options, struct err *e);
void whisper_session_close(struct whisper_session *s);

/* The bytes that a token stands for: maybe a part of a character; none for one that is no
 * text. Borrowed from the session. */
const char *whisper_token_bytes(const struct whisper_session *s, int32_t token,
                                size_t *length);

/* Transcribe `n_samples` mono samples at 16 kHz in [-1, 1] (NaN and infinities are taken
 * as 0), of any length. `r` is initialised by the caller; segments are appended to it,
 * and their ids go on from those that are there. Not re-entrant per session. */
int whisper_transcribe(struct whisper_session *s, const float *samples, size_t n_samples,
                       const struct whisper_params *p, const struct whisper_callbacks *c,
                       struct whisper_result *r, struct err *e);

/* Language of a recording, by the vote of some of its windows in which somebody speaks:
 * *language and the probability of every language [whisper_language_count()] (0 for those
 * that the model does not know; the same for all when nobody speaks). ERR_UNSUPPORTED for
 * a model that knows only English. */
int whisper_detect_language(struct whisper_session *s, const float *samples,
                            size_t n_samples, int *language, float *probabilities,
                            struct err *e);

#endif
