#include "engine/params.h"

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

static int check_language(const struct whisper_params *p, bool multilingual,
                          int n_languages, int *language, struct err *e)
{
    const char *name = p->language;
    bool detect = !name || !*name || strcmp(name, "auto") == 0;
    *language = detect ? (multilingual ? -1 : 0) : whisper_language_find(name);
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
    if (multilingual && *language >= n_languages)
        return err_set(e, ERR_INVALID,
                       "this model does not know the language \"%s\"; large-v3 and "
                       "large-v3-turbo do",
                       name);
    return 0;
}

int params_check(const struct whisper_params *p, bool multilingual, int n_languages,
                 int *language, struct err *e)
{
    if (p->n_temperatures < 1 || p->n_temperatures > WHISPER_MAX_TEMPERATURES)
        return err_set(e, ERR_INVALID, "give 1 to %d temperatures, not %d",
                       WHISPER_MAX_TEMPERATURES, p->n_temperatures);
    for (int i = 0; i < p->n_temperatures; i++) {
        if (!(p->temperatures[i] >= 0 && p->temperatures[i] <= 2))
            return err_set(e, ERR_INVALID, "a temperature of %g is not within 0 and 2",
                           (double)p->temperatures[i]);
    }
    if (p->best_of < 1 || p->best_of > WHISPER_MAX_SEQUENCES)
        return err_set(e, ERR_INVALID, "best_of must be 1 to %d, not %d",
                       WHISPER_MAX_SEQUENCES, p->best_of);
    if (!(p->max_initial_timestamp >= 0 && p->max_initial_timestamp <= 30))
        return err_set(e, ERR_INVALID,
                       "max_initial_timestamp must be 0 to 30 seconds, not %g",
                       (double)p->max_initial_timestamp);
    if (p->start_frame < 0)
        return err_set(e, ERR_INVALID, "a recording cannot be gone on with at frame %lld",
                       (long long)p->start_frame);
    if (!multilingual && p->task == WHISPER_TRANSLATE)
        return err_set(e, ERR_INVALID,
                       "this model knows only English and cannot translate; choose a "
                       "multilingual model (without \".en\")");
    return check_language(p, multilingual, n_languages, language, e);
}
