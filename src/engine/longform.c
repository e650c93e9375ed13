/* The reference's sliding window: encode 30 s, decode with the fallback ladder, cut into
 * segments, move on to where the last finished segment ended. */
#include "engine/session.h"

#include "base/mem.h"
#include "engine/fallback.h"
#include "engine/params.h"
#include "engine/prompt.h"
#include "engine/search.h"
#include "engine/segments.h"

/* One call of whisper_transcribe. All is borrowed but `initial`. */
struct run {
    struct whisper_session *s;
    const struct whisper_params *p;
    const struct whisper_callbacks *c; /* or NULL */
    struct whisper_result *r;
    int64_t total_frames;
    int64_t encoded_frame; /* the window that net holds; -1: none */
    int32_t *initial;      /* owned: the initial prompt */
    size_t n_initial, initial_capacity;
};

/* A window that was decoded: the attempt that was kept. */
struct heard {
    struct attempt attempt;
    struct search_result tokens;
};

/* ---- a window -------------------------------------------------------------------- */

static bool is_cancelled(const struct run *w)
{
    return w->c && w->c->cancelled && w->c->cancelled(w->c->arg);
}

static int cancelled(struct err *e)
{
    return err_set(e, ERR_CANCELLED, "the transcription was cancelled");
}

/* The features of the window at `seek`, of which `frames` are recording. What is behind
 * them is 0, as in the reference's transcribe: not silence, whose features are lower. The
 * models hear better so (docs/model.md has the numbers). */
static void take_window(struct run *w, int64_t seek, int frames)
{
    struct whisper_session *s = w->s;
    size_t n_mels = (size_t)s->model->config.n_mels;
    mel_window(s->mel, seek, s->features);
    memset(s->features + (size_t)frames * n_mels, 0,
           (size_t)(WHISPER_WINDOW_FRAMES - frames) * n_mels * sizeof(*s->features));
}

/* Nothing is in the window: its features are the same everywhere, as they are more than
 * 80 dB below the loudest sound of the recording. Whatever a model says to that ("you",
 * "Thank you.") it has not heard. */
static bool is_void(const struct run *w, int frames)
{
    const float *x = w->s->features;
    size_t n = (size_t)frames * (size_t)w->s->model->config.n_mels;
    for (size_t i = 1; i < n; i++) {
        if (x[i] != x[0])
            return false;
    }
    return true;
}

/* Encode the window whose features are at hand. */
static void encode(struct run *w, int64_t seek)
{
    if (w->encoded_frame == seek)
        return;
    const float *windows[] = {w->s->features};
    net_encode(w->s->net, windows, 1);
    w->encoded_frame = seek;
}

/* ---- language -------------------------------------------------------------------- */

/* Hear the window at hand; probabilities [whisper_language_count()]. */
static int detect(struct run *w, int64_t seek, int *language, float *probabilities,
                  struct err *e)
{
    for (int i = 0; i < whisper_language_count(); i++)
        probabilities[i] = 0;
    encode(w, seek);
    int rc = search_languages(w->s->search, probabilities, e);
    if (rc < 0)
        return rc;
    *language = 0;
    for (int i = 1; i < w->s->model->config.n_languages; i++) {
        if (probabilities[i] > probabilities[*language])
            *language = i;
    }
    return 0;
}

static void tell_language(struct run *w, int language, float probability)
{
    w->r->language = language;
    w->r->language_probability = probability;
    if (language >= 0 && w->c && w->c->language)
        w->c->language(w->c->arg, language, probability);
}

/* The language of the recording is that of the first window in which there is something.
 */
static int settle_language(struct run *w, int64_t seek, struct err *e)
{
    if (w->r->language >= 0)
        return 0;
    float *probabilities =
        mem_array((size_t)whisper_language_count(), sizeof(*probabilities));
    if (!probabilities)
        return err_set(e, ERR_NOMEM, "no memory is left to detect the language");
    int language;
    int rc = detect(w, seek, &language, probabilities, e);
    if (rc == 0)
        tell_language(w, language, probabilities[language]);
    free(probabilities);
    return rc;
}

/* ---- the ladder ------------------------------------------------------------------ */

/* How good is what was heard? Fills all of the attempt but what the prompt's reading
 * told. */
static int judge(const struct run *w, const struct search_result *r, float temperature,
                 struct attempt *a, struct err *e)
{
    char *text = tokenizer_decode(w->s->tokenizer, r->tokens, r->count);
    size_t length = text ? strlen(text) : 0;
    const char *trimmed = text ? words_trim(text, &length) : "";
    a->temperature = temperature;
    a->avg_logprob = r->avg_logprob;
    int rc =
        text ? text_compression_ratio(trimmed, length, &a->compression_ratio) : ERR_NOMEM;
    free(text);
    return rc == 0 ? 0 : err_set(e, rc, "no memory is left for the text");
}

/* Read the prompt in the encoded window. */
static int prompt(struct run *w, float *no_speech_prob, struct err *e)
{
    struct whisper_session *s = w->s;
    const struct whisper_result *r = w->r;
    size_t n_history =
        prompt_history(w->p, r->segments, r->n_segments, w->initial, w->n_initial,
                       s->history, (size_t)s->model->config.n_text_ctx / 2 - 1);
    size_t sot;
    size_t count = prompt_build(tokenizer_specials(s->tokenizer), r->language, w->p,
                                s->history, n_history, s->prompt, &sot);
    return search_begin(s->search, s->prompt, count, sot, no_speech_prob, e);
}

/* Keep what was just heard: the search will reuse its tokens. */
static void keep(struct run *w, const struct attempt *a, const struct search_result *r,
                 struct heard *h)
{
    memcpy(w->s->kept, r->tokens, r->count * sizeof(*r->tokens));
    h->attempt = *a;
    h->tokens = *r;
    h->tokens.tokens = w->s->kept;
}

/* The fallback ladder: temperatures in turn, until one gives a text that is neither
 * repetitive nor improbable. Where none does, the best is kept; the reference keeps the
 * last, whose words are half chance. */
static int listen(struct run *w, int64_t seek, struct heard *h, struct err *e)
{
    struct attempt a;
    int rc = prompt(w, &a.no_speech_prob, e);
    for (int i = 0; rc == 0 && i < w->p->n_temperatures; i++) {
        struct search_options o = {
            .temperature = w->p->temperatures[i],
            .best_of = w->p->best_of,
            .seed = w->p->seed,
            .window = (uint64_t)seek,
            .attempt = (uint32_t)i,
            .c = w->c,
        };
        struct search_result r;
        if ((rc = search_run(w->s->search, &o, &r, e)) < 0 ||
            (rc = judge(w, &r, o.temperature, &a, e)) < 0)
            return rc;
        bool good = !fallback_needed(w->p, &a);
        if (i == 0 || good || fallback_better(w->p, &a, &h->attempt))
            keep(w, &a, &r, h);
        if (good)
            break;
    }
    return rc;
}

/* ---- segments -------------------------------------------------------------------- */

/* Append a piece of what was heard, unless there is no text or no time in it. */
static int add_segment(struct run *w, int64_t seek, const struct heard *h,
                       const struct piece *piece, struct err *e)
{
    struct whisper_result *r = w->r;
    double start = (double)(seek + piece->start_frame) / WHISPER_FRAMES_PER_SECOND;
    double end = (double)(seek + piece->end_frame) / WHISPER_FRAMES_PER_SECOND;
    double previous = r->n_segments ? r->segments[r->n_segments - 1].end_seconds : 0;
    if (piece->start_frame == piece->end_frame ||
        !segments_clamp(&start, &end, previous, r->duration_seconds))
        return 0;

    size_t n_tokens = piece->to - piece->from;
    char *text =
        tokenizer_decode(w->s->tokenizer, h->tokens.tokens + piece->from, n_tokens);
    int32_t *tokens = mem_array(n_tokens, sizeof(*tokens));
    if (!text || !tokens ||
        mem_grow(&r->segments, &r->capacity, r->n_segments + 1, sizeof(*r->segments)) <
            0) {
        free(text);
        free(tokens);
        return err_set(e, ERR_NOMEM, "no memory is left for the text");
    }
    size_t length = strlen(text);
    words_trim(text, &length);
    if (length == 0) {
        free(text);
        free(tokens);
        return 0;
    }
    memcpy(tokens, h->tokens.tokens + piece->from, n_tokens * sizeof(*tokens));
    r->segments[r->n_segments] = (struct whisper_segment){
        .id = r->n_segments ? r->segments[r->n_segments - 1].id + 1 : 0,
        .seek_frame = seek,
        .start_seconds = start,
        .end_seconds = end,
        .text = text,
        .tokens = tokens,
        .n_tokens = n_tokens,
        .temperature = h->attempt.temperature,
        .avg_logprob = h->attempt.avg_logprob,
        .compression_ratio = h->attempt.compression_ratio,
        .no_speech_prob = h->attempt.no_speech_prob,
    };
    r->n_segments++;
    if (w->c && w->c->segment)
        w->c->segment(w->c->arg, &r->segments[r->n_segments - 1]);
    return 0;
}

/* One window; *advance is at least 1. */
static int window(struct run *w, int64_t seek, int frames, int *advance, struct err *e)
{
    struct whisper_session *s = w->s;
    struct heard h;
    *advance = frames;
    take_window(w, seek, frames);
    if (is_void(w, frames))
        return 0;
    int rc = settle_language(w, seek, e);
    if (rc < 0)
        return rc;
    encode(w, seek);
    rc = listen(w, seek, &h, e);
    if (rc < 0 || fallback_silent(w->p, &h.attempt))
        return rc;
    size_t n = segments_split(h.tokens.tokens, h.tokens.count,
                              tokenizer_specials(s->tokenizer)->timestamp_begin, frames,
                              s->pieces, advance);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_segment(w, seek, &h, &s->pieces[i], e);
    return rc;
}

static int windows(struct run *w, struct err *e)
{
    int64_t seek = w->p->start_frame;
    int frames;
    while ((frames = segments_window_frames(seek, w->total_frames)) > 0) {
        int advance; /* at least 1: a recording has an end */
        if (is_cancelled(w))
            return cancelled(e);
        int64_t quiet = quiet_skip(&w->s->quiet, seek);
        int rc = quiet ? 0 : window(w, seek, frames, &advance, e);
        if (rc < 0)
            return rc;
        seek += quiet ? quiet : advance;
        if (segments_window_frames(seek, w->total_frames) == 0)
            seek = w->total_frames; /* a rest too short for a window is done too */
        if (w->c && w->c->window)
            w->c->window(w->c->arg, seek, w->total_frames);
    }
    return 0;
}

/* ---- the public calls ------------------------------------------------------------ */

/* " " + the trimmed prompt, as tokens: words within a text begin with a space. */
static int encode_initial(struct run *w, struct err *e)
{
    const char *given = w->p->initial_prompt;
    size_t length = given ? strlen(given) : 0;
    const char *text = length ? words_trim(given, &length) : NULL;
    if (length == 0)
        return 0;
    char *spaced = mem_array(length + 1, 1);
    if (!spaced)
        return err_set(e, ERR_NOMEM, "no memory is left for the prompt");
    spaced[0] = ' ';
    memcpy(spaced + 1, text, length);
    int rc = tokenizer_encode(w->s->tokenizer, spaced, length + 1, &w->initial,
                              &w->n_initial, &w->initial_capacity, e);
    free(spaced);
    return rc;
}

static int begin(struct run *w, const float *samples, size_t n_samples, struct err *e)
{
    w->encoded_frame = -1;
    int rc = mel_begin(w->s->mel, samples, n_samples, e);
    if (rc == 0)
        rc = quiet_begin(&w->s->quiet, samples, n_samples, e);
    if (rc < 0)
        return rc;
    w->total_frames = mel_frames(w->s->mel);
    return 0;
}

int whisper_transcribe(struct whisper_session *s, const float *samples, size_t n_samples,
                       const struct whisper_params *p, const struct whisper_callbacks *c,
                       struct whisper_result *r, struct err *e)
{
    const struct whisper_config *config = &s->model->config;
    struct run w = {.s = s, .p = p, .c = c, .r = r};
    int language;
    int rc = params_check(p, config->multilingual, config->n_languages, &language, e);
    if (rc < 0)
        return rc;
    if (is_cancelled(&w))
        return cancelled(e);
    if ((rc = begin(&w, samples, n_samples, e)) < 0)
        return rc;
    r->duration_seconds = (double)n_samples / WHISPER_SAMPLE_RATE;
    tell_language(&w, language, language < 0 ? 0 : 1);
    search_set_rules(s->search, p);
    if ((rc = encode_initial(&w, e)) == 0)
        rc = windows(&w, e);
    free(w.initial);
    return rc;
}

int whisper_detect_language(struct whisper_session *s, const float *samples,
                            size_t n_samples, int *language, float *probabilities,
                            struct err *e)
{
    if (!s->model->config.multilingual)
        return err_set(e, ERR_UNSUPPORTED,
                       "this model knows only English and cannot tell languages apart; "
                       "choose a multilingual model (without \".en\")");
    struct run w = {.s = s};
    int rc = begin(&w, samples, n_samples, e);
    if (rc < 0)
        return rc;
    take_window(&w, 0,
                w.total_frames < WHISPER_WINDOW_FRAMES ? (int)w.total_frames
                                                       : WHISPER_WINDOW_FRAMES);
    return detect(&w, 0, language, probabilities, e);
}
