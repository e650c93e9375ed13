#include "engine/params.h"

#include "base/mem.h"

#include <math.h>

#define PREPEND "\"'“¿([{-«"
#define APPEND  "\"'.。,，!！?？:：”)]}、»"

void whisper_params_init(struct whisper_params *p)
{
    *p = (struct whisper_params){
        .task = WHISPER_TRANSCRIBE,
        .beam_size = 5,
        .patience = 1.0f,
        .length_penalty = 1.0f,
        .best_of = 5,
        .temperatures = {0.0f, 0.2f, 0.4f, 0.6f, 0.8f, 1.0f},
        .n_temperatures = 6,
        .repetition_penalty = 1.0f,
        .compression_ratio_threshold = 2.4f,
        .log_prob_threshold = -1.0f,
        .no_speech_threshold = 0.6f,
        .suppress_blank = true,
        .suppress_non_speech = true,
        .max_initial_timestamp = 1.0f,
        .context_pass = true,
        .prompt_reset_on_temperature = 0.5f,
        .mode = WHISPER_MODE_DEFAULT,
        .vad_filter = true,
        .vad = {.threshold = 0.5f,
                .neg_threshold = NAN,
                .min_speech_duration_ms = 0,
                .max_speech_duration_s = INFINITY,
                .min_silence_duration_ms = 2000,
                .speech_pad_ms = 400},
        .language_detection_segments = 4,
        .language_detection_threshold = 0.9f,
        .prepend_punctuations = PREPEND,
        .append_punctuations = APPEND,
    };
}

/* ---- numbers --------------------------------------------------------------------- */

/* A parameter, what it is, and its limits; NaN is within none. */
struct limit {
    const char *name;
    double value, least, most;
};

static int check_limits(const struct limit *limits, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const struct limit *l = &limits[i];
        if (!(l->value >= l->least && l->value <= l->most))
            return err_set(e, ERR_INVALID, "%s must be %g to %g, not %g", l->name,
                           l->least, l->most, l->value);
    }
    return 0;
}

static int check_temperatures(const struct whisper_params *p, struct err *e)
{
    if (p->n_temperatures < 1 || p->n_temperatures > WHISPER_MAX_TEMPERATURES)
        return err_set(e, ERR_INVALID, "give 1 to %d temperatures, not %d",
                       WHISPER_MAX_TEMPERATURES, p->n_temperatures);
    for (int i = 0; i < p->n_temperatures; i++) {
        if (!(p->temperatures[i] >= 0 && p->temperatures[i] <= 2))
            return err_set(e, ERR_INVALID, "a temperature of %g is not within 0 and 2",
                           (double)p->temperatures[i]);
    }
    return 0;
}

static int check_decoding(const struct whisper_params *p, const struct whisper_config *c,
                          struct err *e)
{
    const struct limit limits[] = {
        {"beam_size", p->beam_size, 1, WHISPER_MAX_SEQUENCES},
        {"patience", (double)p->patience, 0.1f, 10},
        {"length_penalty", (double)p->length_penalty, 0, 10},
        {"best_of", p->best_of, 1, WHISPER_MAX_SEQUENCES},
        {"repetition_penalty", (double)p->repetition_penalty, 0.1f, 10},
        {"no_repeat_ngram_size", p->no_repeat_ngram_size, 0, 100},
        {"max_new_tokens", p->max_new_tokens, 0, c->n_text_ctx},
        {"max_initial_timestamp", (double)p->max_initial_timestamp, 0, 30},
        {"prompt_reset_on_temperature", (double)p->prompt_reset_on_temperature, 0,
         INFINITY},
        {"batch_size", p->batch_size, 0, WHISPER_MAX_BATCH},
        {"language_detection_segments", p->language_detection_segments, 1, 1000},
        {"language_detection_threshold", (double)p->language_detection_threshold, 0, 1},
    };
    int rc = check_limits(limits, ARRAY_LENGTH(limits), e);
    for (size_t i = 0; rc == 0 && i < p->n_suppress_tokens; i++) {
        if (p->suppress_tokens[i] < 0 || p->suppress_tokens[i] >= c->n_vocab)
            rc = err_set(e, ERR_INVALID,
                         "suppress_tokens names token %ld, but this model's tokens are 0 "
                         "to %d",
                         (long)p->suppress_tokens[i], c->n_vocab - 1);
    }
    return rc;
}

/* Names with the prefix under which the doors take them. */
static int check_vad(const struct whisper_vad_options *v, struct err *e)
{
    const double hour_ms = 3600000;
    const struct limit limits[] = {
        {"vad_threshold", (double)v->threshold, 0, 1},
        {"vad_neg_threshold", isnan(v->neg_threshold) ? 0 : (double)v->neg_threshold, 0,
         1},
        {"vad_min_speech_duration_ms", v->min_speech_duration_ms, 0, hour_ms},
        {"vad_max_speech_duration_s", (double)v->max_speech_duration_s, 0.1f, INFINITY},
        {"vad_min_silence_duration_ms", v->min_silence_duration_ms, 0, hour_ms},
        {"vad_speech_pad_ms", v->speech_pad_ms, 0, 60000},
    };
    return check_limits(limits, ARRAY_LENGTH(limits), e);
}

static int check_clips(const struct whisper_params *p, struct err *e)
{
    double end = 0;
    if (p->n_clips > WHISPER_MAX_CLIPS)
        return err_set(e, ERR_INVALID, "give at most %d clips, not %zu",
                       WHISPER_MAX_CLIPS, p->n_clips);
    for (size_t i = 0; i < p->n_clips; i++) {
        const struct whisper_clip *c = &p->clips[i];
        if (!(c->start_seconds >= end && c->end_seconds > c->start_seconds))
            return err_set(e, ERR_INVALID,
                           "clip %zu, from %g s to %g s, does not follow %g s: clips are "
                           "in order, do not overlap and are not empty",
                           i + 1, c->start_seconds, c->end_seconds, end);
        end = c->end_seconds;
    }
    return 0;
}

/* ---- what the model can do --------------------------------------------------------- */

static int check_language(const struct whisper_params *p, const struct whisper_config *c,
                          int *language, struct err *e)
{
    bool multilingual = c->multilingual;
    const char *name = p->language;
    bool detect = !name || !*name || strcmp(name, "auto") == 0;
    *language = detect ? (multilingual ? -1 : 0) : whisper_language_find(name);
    const char *known = detect && multilingual ? p->known_language : NULL;
    int found = known ? whisper_language_find(known) : 0;
    if (found < 0 || (known && found >= c->n_languages))
        return err_set(e, ERR_INVALID,
                       "the language found before, \"%s\", is none of this model's",
                       known);
    if (!detect && *language < 0)
        return err_set(e, ERR_INVALID,
                       "\"%s\" is not a language that Whisper knows; give a code such as "
                       "\"en\", an English name such as \"german\", or \"auto\"",
                       name);
    if (!multilingual && *language != 0)
        return err_set(e, ERR_INVALID,
                       "this model knows only English, but the language asked for is "
                       "\"%s\"; choose a multilingual model (without \".en\")",
                       name);
    if (multilingual && *language >= c->n_languages)
        return err_set(e, ERR_INVALID,
                       "this model does not know the language \"%s\"; large-v3 and "
                       "large-v3-turbo do",
                       name);
    return 0;
}

int params_check(const struct whisper_params *p, const struct whisper_config *c,
                 int *language, struct err *e)
{
    int rc;
    if ((rc = check_temperatures(p, e)) < 0 || (rc = check_decoding(p, c, e)) < 0 ||
        (rc = check_vad(&p->vad, e)) < 0 || (rc = check_clips(p, e)) < 0)
        return rc;
    if (p->start_frame < 0)
        return err_set(e, ERR_INVALID, "a recording cannot be gone on with at frame %lld",
                       (long long)p->start_frame);
    if (!c->multilingual && p->task == WHISPER_TRANSLATE)
        return err_set(e, ERR_INVALID,
                       "this model knows only English and cannot translate; choose a "
                       "multilingual model (without \".en\")");
    return check_language(p, c, language, e);
}
